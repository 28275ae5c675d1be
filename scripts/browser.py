"""A chain, a browser without a window, and a page in it, for scripts that use the dashboard."""

import os
import shutil
from contextlib import contextmanager

from fleet import READY_SECONDS, check, document, free_ports, poll
from playwright.sync_api import expect, sync_playwright
from roles import PATIENCE_SECONDS

PATIENCE_MS = 1_000 * PATIENCE_SECONDS
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
REPORT_BREACHES = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"""


class Dev:
    """`dsc dev` on ports that stay the same."""

    def __init__(self, fleet, *arguments):
        self.fleet, self.arguments = fleet, arguments
        self.base = free_ports(4)
        self.out = fleet.folder / "network.json"

    def start(self):
        self.out.unlink(missing_ok=True)
        self.process = self.fleet.start(
            "dev", "dev", "--json", "--data-dir", "data", "--port-base", self.base, "--out",
            self.out, *self.arguments)
        poll("the chain's addresses", READY_SECONDS, self.out.exists)
        written = poll("the chain's addresses", READY_SECONDS, self.read)
        self.urls, self.accounts = written["urls"], written["accounts"]
        for role, url in self.urls.items():
            self.process.wait_ready(url, role)
        self.url = self.urls["monitor"]

    def read(self):
        text = self.out.read_text()
        return document(text) if text.endswith("}") else None

    def ask(self, *arguments):
        roles = ("blockchain", "pool", "metronome")
        urls = [part for role in roles for part in (f"--{role}-url", self.urls[role])]
        return self.fleet.ask(*arguments, "--data-dir", "data-wallet", *urls)

    def send(self, *arguments):
        """Pays from one of the accounts to another; returns the transaction's id."""
        paid = self.accounts[1]
        return self.ask("wallet", "send", "1.5", paid, "--dev-account", 0, *arguments)["id"]


class View:
    """A page in a window of its own, and whatever went wrong on it."""

    def __init__(self, browser, url, **options):
        options.setdefault("viewport", DESKTOP)
        self.url, self.is_cut_off, self.faults = url, False, []
        self.context = browser.new_context(**options)
        self.context.add_init_script(REPORT_BREACHES)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = page = self.context.new_page()
        page.on("console", self.told)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self.asked)
        self.open("/")

    def told(self, message):
        if message.type in ("error", "warning") and not self.is_cut_off:
            self.faults.append(f"{message.type}: {message.text}")

    def asked(self, request):
        if not request.url.startswith(self.url):
            self.faults.append(f"a request to {request.url}")

    def open(self, path):
        self.page.goto(self.url + path, wait_until="domcontentloaded")
        expect(self.page.locator("#main:not([aria-busy]) h1")).to_be_visible(timeout=PATIENCE_MS)
        self.wait("document.documentElement.dataset.connection === 'live'")

    def wait(self, condition, argument=None):
        """Waits for a condition in JavaScript, which the page's policy would not let it run itself."""
        poll(condition, PATIENCE_SECONDS, lambda: self.page.evaluate(condition, argument))

    def see(self, selector, text=None):
        """Waits until an element is visible, with `text` in it."""
        found = self.page.locator(selector, has_text=text).first
        expect(found).to_be_visible(timeout=PATIENCE_MS)
        return found

    def tile(self, name):
        return self.page.locator(f".tile-{name} .value").text_content()

    def height(self):
        self.wait("/^[\\d,]+$/.test(document.querySelector('.tile-height .value')?.textContent)")
        return int(self.tile("height").replace(",", ""))

    def grow(self, blocks=2):
        goal = self.height() + blocks
        self.wait("""(goal) => Number(document.querySelector(".tile-height .value")
                     .textContent.replaceAll(",", "")) >= goal""", goal)
        return goal

    @contextmanager
    def outage(self):
        """For a time in which the browser may report that nobody answers."""
        self.is_cut_off = True
        yield
        self.is_cut_off = False

    def close(self):
        self.context.close()
        check(not self.faults, f"on the page: {self.faults}")


@contextmanager
def opened(browser, url, **options):
    view = View(browser, url, **options)
    yield view
    view.close()


def find_chromium(program):
    found = program or shutil.which("chromium") or shutil.which("chromium-browser")
    check(found, "there is no Chromium; Debian's package `chromium` has it")
    return found


@contextmanager
def started(fleet, program):
    """Chromium, or the program that is named, without the caller's settings."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(program), args=SWITCHES,
            env={**os.environ, "HOME": str(fleet.folder)})
        yield browser
        browser.close()

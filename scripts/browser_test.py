#!/usr/bin/env python3
"""Uses the dashboard as people do, in Chromium without a window, driven by Playwright.

    browser_test.py --dsc PROGRAM [--chromium PROGRAM]
    browser_test.py --dsc PROGRAM --screenshots FOLDER

Against `dsc dev`:
1. The page loads without an error on the console, a breach of its policy or a request elsewhere;
   height rises.
2. A payment shows as submitted while no block is made, and confirms on its open page; a memo that
   is HTML, and would hide what follows, shows as text.
3. Search and navigation by keyboard alone; a search that finds nothing says so.
4. A phone's window needs no sideways scrolling on any page, and search works there.
5. Light and dark, by the system's setting and by the button, which is remembered.
6. axe-core finds nothing serious, in light, dark and on a phone.
7. When `dsc dev` is gone the page says so; started again, the page goes on by itself.

Against roles as processes of their own:
8. A validator that is killed is shown as gone.
9. A role that does not answer is named; a monitor that is started again is found again.
10. Where a role has several servers, each is shown with how it stands.

The second form runs `dsc dev --demo` for some minutes and writes pictures of it.
"""

import argparse
import importlib.util
import re
import traceback
from pathlib import Path

from browser import PATIENCE_MS, PHONE, Dev, opened, started
from fleet import Failed, Fleet, answer, check, free_ports, main, poll
from playwright.sync_api import Error, expect
from roles import Roles

# A picture, a change of direction that would turn the rest around, and a script.
MEMO = "<img src=x onerror=alert(1)> \u202eeslaf\u202c <script>alert(2)</script>"
SHOWN_MEMO = r"<img src=x onerror=alert(1)> \u{202e}eslaf\u{202c} <script>alert(2)</script>"
# What the page makes of amounts, which no floating-point number holds, and of texts of strangers.
FORMATS = """import("/assets/format.js").then((f) => [
  f.amount("123456789012345678.12345678"), f.amount("-1234.5"), f.amount("1e3<b>"), f.amount(null),
  f.sum(["9007199254740993", "0.00000001", "0.2"]), f.coins(f.units("0.00000010")), f.sum(["x"]),
  f.coins(-150000000n), f.textOf("c3a9"), f.textOf("c3"), f.textOf("<b>"), f.visible("a\\u202eb\\u0000"),
  f.count(1234567), f.rounded("1234.56789"), f.short(12345), f.span(61000), f.bytes(3 * 2 ** 29),
])"""
FORMATTED = ["123,456,789,012,345,678.12345678", "-1,234.5", "1e3<b>", "\u2013",
             "9007199254740993.20000001", "0.0000001", None, "-1.5", "\u00e9", None, None,
             r"a\u{202e}b\u{0}", "1,234,567", "1,234.56", "12.3 k", "1 min 1 s", "1.50 GiB"]
TABS_MAX = 80
TOLD_MAX = 2_000
SHOT_SAMPLES = 120
SHOT_BYTES_MAX = 200_000


def check_loading(browser, dev):
    with opened(browser, dev.url) as view:
        before = view.height()
        after = view.grow()
        for part in ("tiles", "ribbon", "charts", "validators", "recent"):
            view.see(f".{part}")
        expect(view.page.locator(".canvas canvas")).to_have_count(5)
        expect(view.page.locator(".validators tbody tr")).to_have_count(3)
        expect(view.page.locator(".servers")).to_be_hidden()
        view.see(".tile-supply .note", "balances sum to coins issued")
        view.see(".tile-tip .note", "on time")
        view.see(".blocks a.block", f"{after:,}")
        view.page.reload()
        view.wait("document.querySelectorAll('.blocks a.block').length > 0")
        samples = view.page.evaluate("fetch('/v1/history').then((answer) => answer.json())")
        check(len(samples["samples"]) > 1, f"{len(samples['samples'])} samples after a reload")
        formatted = view.page.evaluate(FORMATS)
        check(formatted == FORMATTED, f"numbers and texts are shown as {formatted}")
    print(f"loaded without a fault; height {before} to {after}")


def check_payment(browser, dev):
    with opened(browser, dev.url) as view:
        dev.ask("metronome", "stop")
        identity = dev.send("--memo", MEMO, "--async")
        link = f"a[href='/transaction/{identity}']"
        view.see(f".recent tr:has({link}) .state", "submitted")
        view.page.locator(f".recent {link}").click()
        view.see(".verdict .state", "submitted")
        view.see(".timeline .ahead", "confirmed")
        dev.ask("metronome", "start")
        view.see(".verdict .state", "confirmed")
        view.see(".confirmations", "confirmation")
        expect(view.page.locator(".timeline .reached")).to_have_count(3)
        expect(view.page.locator(".memo")).to_have_text(SHOWN_MEMO)
        check(view.page.locator("main img, main script").count() == 0, "a memo became HTML")
        view.page.locator(".facts a[href^='/block/']").click()
        view.see(f"a[href='/transaction/{identity}']")
        view.page.go_back()
        view.see(".verdict .state", "confirmed")
    print(f"paid: {identity} confirmed on its page, its memo is text")
    return identity


def focused(view):
    return view.page.evaluate("document.activeElement.matches(':focus-visible') && "
                              "getComputedStyle(document.activeElement).outlineStyle !== 'none'")


def tab_to(view, selector, key="Tab"):
    """Presses Tab, or Shift and Tab, until an element of `selector` has the focus, which must be seen on the way."""
    for _ in range(TABS_MAX):
        view.page.keyboard.press(key)
        check(focused(view), "the focus is not seen")
        if view.page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
    check(False, f"{selector} is not reached by Tab")


def title(view, text):
    expect(view.page.locator("main h1")).to_have_text(text, timeout=PATIENCE_MS)
    expect(view.page.locator("main h1")).to_be_focused()


def check_keyboard(browser, dev, identity):
    with opened(browser, dev.url) as view:
        keys = view.page.keyboard
        view.grow()
        keys.press("Tab")
        view.see(".skip:focus")
        tab_to(view, ".blocks a.block")
        keys.press("ArrowRight")
        number = view.page.evaluate("document.activeElement.querySelector('strong').textContent")
        keys.press("Enter")
        title(view, f"Block {number}")
        tab_to(view, "a[rel=prev]")
        keys.press("Enter")
        title(view, f"Block {int(number.replace(',', '')) - 1:,}")
        for text, found in (("0", "Block 0"), (identity, "Transaction")):
            keys.press("/")
            expect(view.page.locator("#query")).to_be_focused()
            keys.type(text)
            keys.press("Enter")
            title(view, found)
        tab_to(view, ".facts a[href^='/address/']")
        keys.press("Enter")
        title(view, "Address")
        view.see("td", "sent")
        keys.press("/")
        keys.type("<b>nobody</b>")
        with view.outage():
            keys.press("Enter")
            told = view.see("#search-told", "nobody").text_content()
        keys.press("Escape")
        expect(view.page.locator("#search-told")).to_be_empty()
        tab_to(view, "#to-overview", "Shift+Tab")
        keys.press("Enter")
        title(view, "Overview")
    print(f"searched and moved by keyboard; nothing found: {told}")


def places(identity, dev):
    """A path of every page."""
    return ["/", "/blocks", "/block/tip", f"/transaction/{identity}",
            f"/address/{dev.accounts[0]}"]


def check_phone(browser, dev, identity):
    with opened(browser, dev.url, viewport=PHONE, has_touch=True, is_mobile=True) as view:
        view.grow(1)
        for path in places(identity, dev):
            view.open(path)
            width = view.page.evaluate("document.documentElement.scrollWidth")
            check(width <= PHONE["width"], f"{path} is {width} px wide on a phone")
        view.page.locator("#query").fill("0")
        view.page.get_by_role("button", name="Search").tap()
        expect(view.page.locator("main h1")).to_have_text("Block 0", timeout=PATIENCE_MS)
        small = view.page.evaluate("""[...document.querySelectorAll("button, input")]
            .filter((one) => one.getBoundingClientRect().height < 32).map((one) => one.id)""")
        check(small == [], f"too small to touch: {small}")
    print("on a phone: no sideways scrolling, search works")


def brightness(view):
    """Of the page's ground, from 0 to 255."""
    text = view.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", text)[:3]) / 3


def check_themes(browser, dev):
    for scheme, is_right in (("light", lambda value: value > 200), ("dark", lambda v: v < 60)):
        with opened(browser, dev.url, color_scheme=scheme, reduced_motion="reduce") as view:
            check(is_right(brightness(view)), f"{scheme}: the ground has {brightness(view)}")
            motion = view.page.evaluate(
                "getComputedStyle(document.querySelector('.fill')).transitionProperty")
            check(motion == "none", f"something moves: {motion}")
            button = view.page.locator("#theme")
            other = "dark" if scheme == "light" else "light"
            while button.text_content() != f"Theme: {other}":
                button.click()
            check(not is_right(brightness(view)), f"{other} was chosen and is not shown")
            view.page.reload()
            check(not is_right(brightness(view)), f"{other} was chosen and is forgotten")
    print("light and dark, chosen and remembered")


def examine(view, place):
    """What axe-core finds on the page; anything serious fails."""
    folder = Path(importlib.util.find_spec("axe_playwright_python").origin).parent
    view.page.evaluate((folder / "axe.min.js").read_text())
    found = view.page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    serious = [f"{one['id']}: {one['nodes'][0]['html']}" for one in found
               if one["impact"] in ("serious", "critical")]
    check(not serious, f"{place}: {serious}")
    return {one["id"] for one in found}


def check_accessibility(browser, dev, identity):
    minor = set()
    every = places(identity, dev)
    for options, paths in (({"color_scheme": "light"}, every), ({"color_scheme": "dark"}, every[:1]),
                           ({"viewport": PHONE}, every[:1])):
        with opened(browser, dev.url, **options) as view:
            for path in paths:
                view.open(path)
                minor |= examine(view, f"{path} {options}")
    print(f"axe-core: nothing serious; minor: {sorted(minor) or 'nothing'}")


def check_lost(view, stop, start):
    """What shows while nobody serves the page, and that it goes on by itself."""
    view.grow()
    with view.outage():
        stop()
        view.see("#banner", "connection to the monitor is lost")
        view.see(".tile-tip .note", "no connection")
        start()
        view.wait("document.documentElement.dataset.connection === 'live'")
        expect(view.page.locator("#banner")).to_be_hidden(timeout=PATIENCE_MS)
    return view.grow()


def check_restart(browser, dev):
    with opened(browser, dev.url) as view:
        view.page.evaluate("window.isSame = true")
        height = check_lost(view, dev.process.stop, dev.start)
        check(view.page.evaluate("window.isSame"), "the page was loaded again")
    print(f"dsc dev was restarted: the page went on by itself to height {height}")


def check_roles(browser, fleet):
    network = Roles(fleet, "browser", "1s", accounts=1)
    network.make_genesis()
    (fleet.folder / "passphrase").write_text("correct horse battery staple\n")
    network.rewarded = fleet.ask("wallet", "create", "miner", "--passphrase-file", "passphrase",
                                 "--data-dir", "data-wallet")["address"]
    network.start_all()
    monitor = network.processes["monitor"]
    with opened(browser, network.url("monitor")) as view:
        expect(view.page.locator(".validators .state", has_text="alive")).to_have_count(
            3, timeout=PATIENCE_MS)
        network.processes["validator-space"].kill()
        view.see(".validators tr:has(.space) .state", "gone")
        view.see(".tile-validators .note", "1 validator gone")
        expect(view.page.locator(".validators .state", has_text="alive")).to_have_count(2)
        print("a killed validator is gone on the page")
        network.processes["pool"].kill()
        view.see("#banner", "pool")
        view.see(".tile-pool .note", "not answered")
        network.start("pool")
        expect(view.page.locator("#banner")).to_be_hidden(timeout=PATIENCE_MS)
        print("a pool that does not answer is named until it does")
        height = check_lost(view, monitor.stop, lambda: network.start("monitor"))
        print(f"the monitor was restarted: the page went on by itself to height {height}")
    check_servers(browser, network)


def check_servers(browser, network):
    """A monitor that is told of two pools, one of which is not there."""
    name, port = "monitor-of-several", free_ports(1)
    url, gone = f"http://127.0.0.1:{port}", "http://127.0.0.1:1"
    command = network.command("monitor")
    command[command.index("--pool-url") + 1] = f"{network.url('pool')},{gone}"
    command[command.index("--listen") + 1] = f"127.0.0.1:{port}"
    monitor = network.fleet.start(name, *command)
    monitor.wait_ready(url)
    with opened(browser, url) as view:
        expect(view.page.locator(".servers tbody tr")).to_have_count(4, timeout=PATIENCE_MS)
        rows = {"blockchain": "ready", network.url("pool"): "ready", gone: "silent",
                "leads with lease 0": "ready"}
        for text, state in rows.items():
            row = view.page.locator(".servers tbody tr", has_text=text)
            expect(row.locator(".state")).to_have_text(state, timeout=PATIENCE_MS)
        view.see("#banner", f"pool at {gone}")
        examine(view, "a page with servers")
    monitor.stop()
    print("each of several servers is shown with how it stands")


def take_pictures(browser, fleet, folder):
    """Pictures of a chain with traffic, in both themes, on a desk and on a phone."""
    dev = Dev(fleet, "--demo")
    dev.start()
    folder.mkdir(parents=True, exist_ok=True)
    samples = lambda: answer(f"{dev.url}/v1/history")["samples"]
    poll("minutes of samples", 4 * SHOT_SAMPLES, lambda: len(samples()) >= SHOT_SAMPLES)
    identity = dev.ask("wallet", "faucet", dev.accounts[0], "1250.75")["id"]
    sizes = {"desktop": {"width": 1100, "height": 1000}, "phone": PHONE}
    for scheme in ("light", "dark"):
        for size, viewport in sizes.items():
            with opened(browser, dev.url, color_scheme=scheme, viewport=viewport) as view:
                view.grow(3)
                picture(view, folder / f"overview-{size}-{scheme}.png")
                if size == "desktop":
                    view.page.set_viewport_size({"width": 1100, "height": 800})
                    view.open(f"/transaction/{identity}")
                    picture(view, folder / f"transaction-{size}-{scheme}.png")


def picture(view, path):
    view.page.screenshot(path=path)
    size = path.stat().st_size
    check(size <= SHOT_BYTES_MAX, f"{path} has {size} bytes")
    print(f"{path}: {size:,} bytes")


def run():
    parser = argparse.ArgumentParser(description="Uses the dashboard in a browser.")
    parser.add_argument("--dsc", required=True, help="the program dsc")
    parser.add_argument("--chromium", help="the browser [default: the one on the path]")
    parser.add_argument("--screenshots", type=Path, help="write pictures here, and test nothing")
    options = parser.parse_args()
    pictures = options.screenshots and options.screenshots.resolve()
    with Fleet(options.dsc) as fleet, started(fleet, options.chromium) as browser:
        if pictures:
            take_pictures(browser, fleet, pictures)
            return
        dev = Dev(fleet)
        dev.start()
        check_loading(browser, dev)
        identity = check_payment(browser, dev)
        check_keyboard(browser, dev, identity)
        check_phone(browser, dev, identity)
        check_themes(browser, dev)
        check_accessibility(browser, dev, identity)
        check_restart(browser, dev)
        dev.process.stop()
        check_roles(browser, fleet)


def run_and_tell():
    """A page that is not as expected is a check that did not hold."""
    try:
        run()
    except (AssertionError, Error) as error:
        where = [frame.name for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == __file__]
        raise Failed(f"{' > '.join(where)}: {str(error)[:TOLD_MAX]}") from None


if __name__ == "__main__":
    main(run_and_tell)

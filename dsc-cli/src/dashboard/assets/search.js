// The field that finds a block, a transaction or an address.

import { get, paths } from "./api.js";
import { setText } from "./dom.js";

const PLACES = /^\/(block|transaction|address)\/[^/]+$/;

export function setUpSearch(go) {
  const form = document.getElementById("search");
  const [input, told] = [document.getElementById("query"), document.getElementById("search-told")];
  let running = null;

  async function search() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const text = input.value.trim();
    setText(told, "");
    if (!text) {
      return;
    }
    form.setAttribute("aria-busy", "true");
    try {
      const found = await get(paths.search(text), signal);
      input.value = "";
      go(PLACES.test(found.path) ? found.path : "/");
    } catch (error) {
      if (!signal.aborted) {
        setText(told, [error.message, error.hint].filter(Boolean).join("; "));
        input.select();
      }
    } finally {
      form.removeAttribute("aria-busy");
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  input.addEventListener("input", () => setText(told, ""));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      input.value = "";
      setText(told, "");
      document.getElementById("main").focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    const isPlain = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (isPlain && !event.target.closest("input, textarea, select, [contenteditable]")) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
}

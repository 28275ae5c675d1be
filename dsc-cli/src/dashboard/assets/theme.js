// Light or dark: as the system is set, unless the reader chose; the choice is remembered.
// A classic script in the head, so that the page never shows in the wrong one first.
"use strict";
(() => {
  const CHOICES = ["auto", "light", "dark"];
  const KEY = "dsc-theme";

  // Storage may be switched off; the choice then lasts as long as the page.
  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function remember(choice) {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // Nothing to do: see above.
    }
  }

  let choice = CHOICES.includes(remembered()) ? remembered() : "auto";

  function apply() {
    document.documentElement.dataset.theme = choice;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = `Theme: ${choice}`;
    }
    document.dispatchEvent(new Event("dsc-theme"));
  }

  function next() {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    remember(choice);
    apply();
  }

  apply();
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", next);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
})();

/* Runs before the first paint, so a remembered theme never flashes. */
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else if (theme === "system") delete root.dataset.theme; /* in this browser, whatever the account says */
  } catch {
    /* storage may be forbidden: then the system's wish holds */
  }
})();

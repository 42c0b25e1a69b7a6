/* Runs before the first paint, so a remembered theme never flashes. */
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");
  try {
    var theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch (error) {
    /* storage may be forbidden: then the system's wish holds */
  }
})();

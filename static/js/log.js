/* A log's lines wrapped or each on one line, as the reader left it; and the line that the address names in sight. */
(function () {
  "use strict";
  var plane = window.plane, all = plane.all;

  function wraps() {
    try { return localStorage.getItem("log-wrap") !== "off"; } catch (error) { return true; }
  }
  function apply(on) {
    all("ol.log").forEach(function (list) { list.classList.toggle("flat", !on); });
    all("[data-log-wrap]").forEach(function (button) { button.setAttribute("aria-pressed", String(on)); });
  }
  document.addEventListener("click", function (event) {
    if (!plane.hit(event, "[data-log-wrap]")) return;
    var on = !wraps();
    try { localStorage.setItem("log-wrap", on ? "on" : "off"); } catch (error) { /* stays for this page */ }
    apply(on);
  });
  document.addEventListener("htmx:afterSettle", function () { apply(wraps()); });
  apply(wraps());
  /* the end is what one looks for, unless the address names a line */
  if (!location.hash) all("ol.log[data-tail]").forEach(function (list) { list.scrollTop = list.scrollHeight; });
  var line = /^#L[0-9]+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
  if (line) line.scrollIntoView({ block: "center" });
})();

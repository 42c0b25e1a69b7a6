/* A log's lines wrapped or each on one line, as the reader left it; and the line that the address names in sight. */
import { closestTarget, queryAll } from "./plane.js";

function wraps() {
  try {
    return localStorage.getItem("log-wrap") !== "off";
  } catch {
    return true;
  }
}
function apply(on) {
  queryAll("ol.log").forEach((list) => {
    list.classList.toggle("flat", !on);
  });
  queryAll("[data-log-wrap]").forEach((button) => {
    button.setAttribute("aria-pressed", String(on));
  });
}
document.addEventListener("click", (event) => {
  if (!closestTarget(event, "[data-log-wrap]")) return;
  const on = !wraps();
  try {
    localStorage.setItem("log-wrap", on ? "on" : "off");
  } catch {
    /* stays for this page */
  }
  apply(on);
});
document.addEventListener("htmx:afterSettle", () => {
  apply(wraps());
});
apply(wraps());
/* the end is what one looks for, unless the address names a line */
if (!location.hash)
  queryAll("ol.log[data-tail]").forEach((list) => {
    list.scrollTop = list.scrollHeight;
  });
const line = /^#L[0-9]+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
if (line) line.scrollIntoView({ block: "center" });

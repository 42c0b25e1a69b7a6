/* The search field of the frame: what is found while somebody types, chosen by arrows and Enter. */
import { attachCombobox, query } from "./plane.js";

const field = query(".find input[role=combobox]"),
  list = field && document.getElementById(field.getAttribute("aria-controls"));
function start() {
  const box = attachCombobox(field, list, ["Enter"], (option) => {
    location.assign(option.href);
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== list) return;
    box.open(box.options().length > 0 && document.activeElement === field);
  });
  field.addEventListener("focus", () => {
    if (field.value && box.options().length) box.open(true);
  });
  field.form.addEventListener("submit", () => {
    box.open(false);
  });
}
if (list) start();

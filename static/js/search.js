/* The search field of the frame: what is found while somebody types, chosen by arrows and Enter. The command palette:
   Ctrl K opens it, arrows choose, Enter goes there. And g, then a letter, leads to a section. */
import { attachCombobox, isTyping, query, queryAll } from "./plane.js";

const field = query(".find input[role=combobox]"),
  found = field && document.getElementById(field.getAttribute("aria-controls"));
function attachResults(field, list) {
  const box = attachCombobox(field, list, ["Enter"], (option) => {
    location.assign(option.href);
  });
  /* what was chosen is of the text before: until the answer is there, Enter searches for what is typed */
  field.addEventListener("input", () => {
    box.choose(null);
    window.htmx.trigger(field, "htmx:abort");
  });
  return box;
}
function startSearch() {
  const box = attachResults(field, found);
  let wanted = false; /* by what is typed, until the list is closed */
  box.closed = () => {
    wanted = false;
  };
  field.addEventListener("input", () => {
    wanted = true;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === found) box.open(box.options().length > 0 && wanted);
  });
  field.addEventListener("focus", () => {
    if (field.value && box.options().length) box.open(true);
  });
  field.form.addEventListener("submit", () => {
    box.open(false);
  });
}
if (found) startSearch();

/* ---- the palette ---- */
const dialog = query("#palette"),
  words = dialog && query("input[role=combobox]", dialog),
  list = dialog && query("[role=listbox]", dialog);
const SECONDS_FOR_THE_LETTER = 1.5;
let pressed = 0; /* when g was, in ms */

function startPalette() {
  const box = attachResults(words, list);
  function show() {
    if (dialog.open || query("dialog[open]")) return;
    dialog.showModal();
    words.select();
  }
  words.addEventListener("focus", () => {
    words.dispatchEvent(new Event("palette"));
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== list) return;
    box.open(box.options().length > 0);
    box.choose(box.options()[0] || null); /* Enter takes the first */
  });
  /* one press closes it, whatever is open in it */
  dialog.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      dialog.close();
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else show();
  });
}
document.addEventListener(
  "keydown",
  (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isTyping(event.target) || query("dialog[open]")) return;
    const soon = pressed > 0 && event.timeStamp - pressed < SECONDS_FOR_THE_LETTER * 1000;
    pressed = event.key === "g" ? event.timeStamp : 0;
    if (!soon) return;
    const link = queryAll(".rail a[data-go]").find((each) => each.dataset.go === event.key);
    if (!link) return;
    event.preventDefault();
    event.stopImmediatePropagation(); /* j and k are the rows of a list otherwise */
    location.assign(link.href);
  },
  true,
);
if (list) startPalette();

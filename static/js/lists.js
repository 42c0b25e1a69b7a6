/* Lists by keyboard, and the tray of what is selected.
   The current row is the one whose link has the focus: readers and browsers then know it too. */
import { clamp, closestTarget, isTyping, query, queryAll } from "./plane.js";

const BOX = 'td .pickbox input[type="checkbox"]:not(:disabled)';
let anchor = null; /* where a range of rows begins */
const ROW = "table[data-list] tbody tr, ol[data-list] > li";

function rowsOf(list) {
  return queryAll(ROW, list).filter((row) => query("a[href]", row) || query(BOX, row));
}
function current() {
  return document.activeElement?.closest(ROW);
}
function linkOf(row) {
  return query("th a[href]", row) || query("a[href]", row);
}
function enter(row) {
  const target = linkOf(row) || query(BOX, row);
  if (!target) return;
  target.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}
function step(by) {
  const list = rowsOf();
  if (!list.length) return;
  const now = list.indexOf(current());
  enter(list[now < 0 ? (by > 0 ? 0 : list.length - 1) : clamp(now + by, 0, list.length - 1)]);
}

/* ---- selecting ---- */
function set(box, on) {
  if (box.checked === on) return;
  box.checked = on;
  box.dispatchEvent(new Event("change", { bubbles: true }));
}
function toggle(row) {
  const box = row && query(BOX, row);
  if (!box) return;
  set(box, !box.checked);
  anchor = row;
}
function range(row, on) {
  const list = rowsOf(row.closest("table")),
    from = list.indexOf(anchor),
    to = list.indexOf(row);
  list.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((each) => {
    const box = query(BOX, each);
    if (box) set(box, on);
  });
}
/* whether a range may reach from the anchor to this row */
function reaches(row) {
  return row && anchor && anchor !== row && anchor.isConnected && anchor.closest("table") === row.closest("table");
}
function clear() {
  queryAll("table[data-list] tbody .pickbox input:checked").forEach((box) => {
    set(box, false);
  });
  anchor = null;
}
function tell() {
  const boxes = queryAll(`table[data-list] ${BOX}`),
    picked = boxes.filter((box) => box.checked);
  boxes.forEach((box) => {
    box.closest("tr").setAttribute("aria-selected", String(box.checked));
  });
  queryAll("[data-pick-all]").forEach((box) => {
    box.checked = picked.length > 0 && picked.length === boxes.length;
    box.indeterminate = picked.length > 0 && picked.length < boxes.length;
  });
  queryAll("[data-tray]").forEach((tray) => {
    tray.hidden = picked.length === 0;
    queryAll("button[data-least], button[data-most]", tray).forEach((button) => {
      button.disabled =
        picked.length < Number(button.dataset.least || 1) || picked.length > Number(button.dataset.most || 1e9);
    });
  });
  queryAll("[data-picked]").forEach((place) => {
    place.textContent = picked.length;
  });
  if (picked.length) loops(picked.map((box) => box.value).join(" "));
  document.dispatchEvent(
    new CustomEvent("plane:picked", {
      detail: { on: picked.map((box) => box.value), off: boxes.filter((box) => !box.checked).map((box) => box.value) },
    }),
  );
}
/* the same as REST calls, for the rows that are selected */
function loops(ids) {
  queryAll("[data-loop]").forEach((loop) => {
    const code = query("code", loop),
      button = query("[data-copy]", loop);
    query("[data-loop-ids]", loop).textContent = ids;
    if (button) button.dataset.copy = code.textContent;
  });
}

/* ---- keys ---- */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (isTyping(event.target) || query("dialog[open]")) return;
  const row = current();
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "x") toggle(row);
  else if (event.key === "X" && reaches(row)) range(row, query(BOX, anchor).checked);
  else if (event.key === "X") toggle(row);
  else if (event.key === "Enter" && row && event.target.type === "checkbox") linkOf(row)?.click();
  else return;
  event.preventDefault();
});
/* before plane.js closes what is open: one press, one thing */
document.addEventListener(
  "keydown",
  (event) => {
    if (
      event.key === "Escape" &&
      !event.isComposing &&
      !isTyping(event.target) &&
      !query("details.menu[open], dialog[open]")
    )
      clear();
  },
  true,
);

/* ---- pointer: a click beside the links makes the row the current one, unless it ended a selection of text ---- */
document.addEventListener("click", (event) => {
  const row = closestTarget(event, ROW);
  if (!row) return;
  if (event.target.matches(BOX)) {
    if (event.shiftKey && reaches(row)) range(row, event.target.checked);
    else anchor = row;
    return;
  }
  const words = window.getSelection();
  if (words && !words.isCollapsed) return;
  if (!event.target.closest("a, button, input, label, select, textarea, summary, details, dialog, code"))
    linkOf(row)?.focus({ preventScroll: true });
});
document.addEventListener("change", (event) => {
  const target = event.target,
    table = closestTarget(event, "table[data-list]");
  if (!table || target.type !== "checkbox") return;
  if (target.matches("[data-pick-all]"))
    queryAll(`tbody ${BOX}`, table).forEach((box) => {
      box.checked = target.checked;
    });
  tell();
});
/* ---- a row that is a card, on a phone, leaves out what has no value ---- */
function blanks() {
  queryAll(".cards td[data-l]").forEach((cell) => {
    cell.classList.toggle("none", cell.textContent.trim() === "–");
  });
}
document.addEventListener("htmx:afterSettle", blanks);
blanks();
window.addEventListener("pageshow", tell); /* a browser that comes back has kept what was checked */
tell();

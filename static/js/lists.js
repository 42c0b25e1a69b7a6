/* Lists by keyboard, and the tray of what is selected.
   The current row is the one whose link has the focus: readers and browsers then know it too. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all;
  var BOX = 'td .pickbox input[type="checkbox"]:not(:disabled)';
  var anchor = null; /* where a range of rows begins */
  var ROW = "table[data-list] tbody tr, ol[data-list] > li";

  function rowsOf(list) { return all(ROW, list).filter(function (row) { return one("a[href]", row) || one(BOX, row); }); }
  function current() { return document.activeElement && document.activeElement.closest(ROW); }
  function linkOf(row) { return one("th a[href]", row) || one("a[href]", row); }
  function enter(row) {
    var target = linkOf(row) || one(BOX, row);
    if (!target) return;
    target.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  function step(by) {
    var list = rowsOf();
    if (!list.length) return;
    var now = list.indexOf(current());
    enter(list[now < 0 ? (by > 0 ? 0 : list.length - 1) : plane.clamp(now + by, 0, list.length - 1)]);
  }

  /* ---- selecting ---- */
  function set(box, on) {
    if (box.checked === on) return;
    box.checked = on;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }
  function toggle(row) {
    var box = row && one(BOX, row);
    if (!box) return;
    set(box, !box.checked);
    anchor = row;
  }
  function range(row, on) {
    var list = rowsOf(row.closest("table")), from = list.indexOf(anchor), to = list.indexOf(row);
    list.slice(Math.min(from, to), Math.max(from, to) + 1).forEach(function (each) { var box = one(BOX, each); if (box) set(box, on); });
  }
  /* whether a range may reach from the anchor to this row */
  function reaches(row) { return row && anchor && anchor !== row && anchor.isConnected && anchor.closest("table") === row.closest("table"); }
  function clear() {
    all("table[data-list] tbody .pickbox input:checked").forEach(function (box) { set(box, false); });
    anchor = null;
  }
  function tell() {
    var boxes = all("table[data-list] " + BOX), picked = boxes.filter(function (box) { return box.checked; });
    boxes.forEach(function (box) { box.closest("tr").setAttribute("aria-selected", String(box.checked)); });
    all("[data-pick-all]").forEach(function (box) {
      box.checked = picked.length > 0 && picked.length === boxes.length;
      box.indeterminate = picked.length > 0 && picked.length < boxes.length;
    });
    all("[data-tray]").forEach(function (tray) {
      tray.hidden = picked.length === 0;
      all("button[data-least], button[data-most]", tray).forEach(function (button) {
        button.disabled = picked.length < Number(button.dataset.least || 1) || picked.length > Number(button.dataset.most || 1e9);
      });
    });
    all("[data-picked]").forEach(function (place) { place.textContent = picked.length; });
    if (picked.length) loops(picked.map(function (box) { return box.value; }).join(" "));
  }
  /* the same as REST calls, for the rows that are selected */
  function loops(ids) {
    all("[data-loop]").forEach(function (loop) {
      var code = one("code", loop), button = one("[data-copy]", loop);
      one("[data-loop-ids]", loop).textContent = ids;
      if (button) button.dataset.copy = code.textContent;
    });
  }

  /* ---- keys ---- */
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (plane.typing(event.target) || one("dialog[open]")) return;
    var row = current();
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "x") toggle(row);
    else if (event.key === "X" && reaches(row)) range(row, one(BOX, anchor).checked);
    else if (event.key === "X") toggle(row);
    else if (event.key === "Enter" && row && event.target.type === "checkbox") { var link = linkOf(row); if (link) link.click(); }
    else return;
    event.preventDefault();
  });
  /* before plane.js closes what is open: one press, one thing */
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape" && !event.isComposing && !plane.typing(event.target) && !one("details.menu[open], dialog[open]")) clear();
  }, true);

  /* ---- pointer: a click beside the links makes the row the current one, unless it ended a selection of text ---- */
  document.addEventListener("click", function (event) {
    var row = plane.hit(event, ROW);
    if (!row) return;
    if (event.target.matches(BOX)) {
      if (event.shiftKey && reaches(row)) range(row, event.target.checked);
      else anchor = row;
      return;
    }
    var words = window.getSelection();
    if (words && !words.isCollapsed) return;
    if (!event.target.closest("a, button, input, label, select, textarea, summary, details, dialog, code")) {
      var target = linkOf(row);
      if (target) target.focus({ preventScroll: true });
    }
  });
  document.addEventListener("change", function (event) {
    var target = event.target, table = plane.hit(event, "table[data-list]");
    if (!table || target.type !== "checkbox") return;
    if (target.matches("[data-pick-all]")) all("tbody " + BOX, table).forEach(function (box) { box.checked = target.checked; });
    tell();
  });
  /* ---- a row that is a card, on a phone, leaves out what has no value ---- */
  function blanks() {
    all(".cards td[data-l]").forEach(function (cell) { cell.classList.toggle("none", cell.textContent.trim() === "–"); });
  }
  document.addEventListener("htmx:afterSettle", blanks);
  blanks();
  window.addEventListener("pageshow", tell); /* a browser that comes back has kept what was checked */
  tell();
})();

/* The search field of the frame: what is found while somebody types, chosen by arrows and Enter (an ARIA combobox). */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all;
  var field = one(".find input[role=combobox]"), list = field && document.getElementById(field.getAttribute("aria-controls"));
  if (!list) return;

  function options() { return all("[role=option]", list); }
  function chosen() { return one('[aria-selected="true"]', list); }
  function choose(option) {
    options().forEach(function (other) { other.setAttribute("aria-selected", String(other === option)); });
    if (!option) { field.removeAttribute("aria-activedescendant"); return; }
    field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }
  function open(yes) {
    list.hidden = !yes;
    field.setAttribute("aria-expanded", String(yes));
    if (!yes) choose(null);
  }
  function move(by) {
    var found = options(), at = found.indexOf(chosen());
    if (!found.length) return;
    open(true);
    /* above the first and below the last one is the field itself */
    var next = at < 0 ? (by > 0 ? 0 : found.length - 1) : at + by;
    choose(found[next] || null);
  }

  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target !== list) return;
    open(options().length > 0 && document.activeElement === field);
  });
  field.addEventListener("keydown", function (event) {
    if (event.isComposing) return; /* Enter and arrows then choose a Chinese word */
    if (event.key === "ArrowDown" || event.key === "ArrowUp") move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Escape" && !list.hidden) { open(false); event.stopPropagation(); }
    else if (event.key === "Enter" && !list.hidden && chosen()) location.assign(chosen().href);
    else return;
    event.preventDefault();
  });
  field.addEventListener("focus", function () { if (field.value && options().length) open(true); });
  field.addEventListener("blur", function () { open(false); });
  /* a press on the list must not take the focus away, or it would close before the click */
  list.addEventListener("mousedown", function (event) { event.preventDefault(); });
  field.form.addEventListener("submit", function () { open(false); });
})();

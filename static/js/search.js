/* The search field of the frame: what is found while somebody types, chosen by arrows and Enter. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one;
  var field = one(".find input[role=combobox]"), list = field && document.getElementById(field.getAttribute("aria-controls"));
  if (!list) return;

  var box = plane.combobox(field, list);

  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target !== list) return;
    box.open(box.options().length > 0 && document.activeElement === field);
  });
  field.addEventListener("keydown", function (event) {
    if (event.isComposing) return; /* Enter and arrows then choose a Chinese word */
    if (event.key === "ArrowDown" || event.key === "ArrowUp") box.move(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Escape" && !list.hidden) { box.open(false); event.stopPropagation(); }
    else if (event.key === "Enter" && !list.hidden && box.chosen()) location.assign(box.chosen().href);
    else return;
    event.preventDefault();
  });
  field.addEventListener("focus", function () { if (field.value && box.options().length) box.open(true); });
  field.addEventListener("blur", function () { box.open(false); });
  field.form.addEventListener("submit", function () { box.open(false); });
})();

/* The search field of the frame: what is found while somebody types, chosen by arrows and Enter. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one;
  var field = one(".find input[role=combobox]"), list = field && document.getElementById(field.getAttribute("aria-controls"));
  if (!list) return;

  var box = plane.combobox(field, list, ["Enter"], function (option) { location.assign(option.href); });

  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target !== list) return;
    box.open(box.options().length > 0 && document.activeElement === field);
  });
  field.addEventListener("focus", function () { if (field.value && box.options().length) box.open(true); });
  field.form.addEventListener("submit", function () { box.open(false); });
})();

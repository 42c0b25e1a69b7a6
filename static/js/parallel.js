/* Parallel coordinates: a range is dragged along an axis, and written into the form that asks the server to draw again.
   A press without a drag takes the range off. The fields of the form do the same by keyboard. */
import { drawSvg } from "./charts.js";
import { clamp, closestTarget, query } from "./plane.js";

let drag = null;

function valueAt(band, clientY) {
  const box = band.getBoundingClientRect(),
    low = Number(band.dataset.low),
    high = Number(band.dataset.high);
  const value = high - clamp((clientY - box.top) / box.height, 0, 1) * (high - low);
  return Number((band.dataset.log ? Math.pow(10, value) : value).toPrecision(4));
}
function fields(band) {
  const form = query("form[data-brushes]", band.closest("figure"));
  return { form, low: form.elements[`min:${band.dataset.brush}`], high: form.elements[`max:${band.dataset.brush}`] };
}
function paint(event) {
  const box = drag.band.getBoundingClientRect();
  const top = Math.min(drag.y, event.clientY),
    tall = Math.abs(event.clientY - drag.y);
  if (!drag.ghost && tall < 5) return;
  if (!drag.ghost) {
    drag.ghost = drawSvg("rect", {
      class: "held",
      width: 12,
      x: drag.band.getAttribute("x"),
      transform: "translate(-6 0)",
    });
    drag.band.parentNode.insertBefore(drag.ghost, drag.band);
  }
  drag.ghost.setAttribute("y", Math.max(0, top - box.top));
  drag.ghost.setAttribute("height", Math.min(tall, box.bottom - top));
}

document.addEventListener("pointerdown", (event) => {
  const band = closestTarget(event, "[data-brush]");
  if (!band || event.button !== 0 || event.pointerType === "touch") return;
  drag = { band, y: event.clientY };
  event.preventDefault();
});
document.addEventListener("pointermove", (event) => {
  if (drag) paint(event);
});
document.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const held = drag;
  const found = fields(held.band);
  let ends;
  drag = null;
  if (held.ghost) {
    ends = [valueAt(held.band, held.y), valueAt(held.band, event.clientY)].sort((a, b) => a - b);
    held.ghost.remove();
    found.low.value = ends[0];
    found.high.value = ends[1];
  } else if (found.low.value || found.high.value) found.low.value = found.high.value = "";
  else return;
  found.form.requestSubmit();
});

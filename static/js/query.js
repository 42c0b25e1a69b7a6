/* The field of a filter language: the server says what may come next, chosen by arrows and Enter or Tab. */
import { attachCombobox, createElement, query, queryAll } from "./plane.js";
import { fetchPart } from "./presence.js";

const WAIT = 120;

function help(field) {
  const list = document.getElementById(field.getAttribute("aria-controls")),
    box = attachCombobox(field, list, ["Enter", "Tab"], take);
  let told = null,
    asked = 0,
    timer = 0;

  box.closed = () => {
    clearTimeout(timer);
    asked += 1;
  };
  function later() {
    clearTimeout(timer);
    timer = setTimeout(requestOptions, WAIT);
  }
  function requestOptions() {
    const mine = (asked += 1),
      url = new URL(field.dataset.complete, location.href),
      value = field.value;
    url.searchParams.set("filter", field.value);
    url.searchParams.set("at", field.selectionStart);
    fetchPart(url.href, { Accept: "application/json" })
      .then((answer) => answer.json())
      .then((found) => {
        if (mine === asked && document.activeElement === field) show({ ...found, length: Array.from(value).length });
      })
      .catch(() => {
        /* it is typed without help, then */
      });
  }
  function show(found) {
    const chosen = query('[aria-selected="true"]', list)?.dataset.text;
    told = found;
    list.replaceChildren.apply(
      list,
      found.options.map((option, place) => {
        const row = createElement("span", { id: `${list.id}-${place}` });
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", "false");
        row.dataset.text = option.text;
        row.append(option.label, createElement("small", { textContent: option.told }));
        return row;
      }),
    );
    box.open(found.options.length > 0);
    /* the answer to an earlier letter may have been chosen from already */
    const same = box.options().find((row) => row.dataset.text === chosen);
    if (same) box.choose(same);
  }
  function take(option) {
    /* the server counts characters, a field half a pair as one */
    const letters = Array.from(field.value);
    const before = letters.slice(0, told.start).join("") + option.dataset.text;
    const typed = letters.length - told.length; /* since the server was asked */
    field.value = before + letters.slice(told.end + typed).join("");
    field.setSelectionRange(before.length, before.length);
    box.open(false);
    field.focus();
    later();
  }

  ["input", "focus", "click"].forEach((name) => {
    field.addEventListener(name, later);
  });
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
}
queryAll("input[data-complete]").forEach(help);

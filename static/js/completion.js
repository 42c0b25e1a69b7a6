/* Fields that the server completes: a filter language, where it says what may come next, and the names behind an @ in the
   text of a comment. Chosen by arrows and Enter or Tab. */
import { attachCombobox, createElement, query, queryAll } from "./plane.js";
import { fetchPart } from "./presence.js";

const WAIT = 120;
const TYPED = /(?:^|[^\p{L}\p{N}_@])@([\p{L}\p{N}_.+-]{0,80})$/u; /* names of any script, as the plane reads them */

/* `text`: what the choice writes into the field */
function buildRow(list, place, text, label, note) {
  const row = createElement("span", { id: `${list.id}-${place}` });
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", "false");
  row.dataset.text = text;
  row.append(label, createElement("small", { textContent: note }));
  return row;
}
function takeClicked(list, take) {
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
}
function offerOptions(field) {
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
    box.closed();
    timer = setTimeout(requestOptions, WAIT);
  }
  function requestOptions() {
    const mine = asked,
      url = new URL(field.dataset.complete, location.href),
      value = field.value;
    url.searchParams.set("filter", value);
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
    list.replaceChildren(
      ...found.options.map((option, place) => buildRow(list, place, option.text, option.label, option.told)),
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
  takeClicked(list, take);
}
function offerNames(field) {
  const list = document.getElementById(field.getAttribute("aria-controls")),
    box = attachCombobox(field, list, ["Enter", "Tab"], take);
  let asked = 0,
    timer = 0;

  box.closed = () => {
    clearTimeout(timer);
    asked += 1;
  };
  function prefix() {
    const match = TYPED.exec(field.value.slice(0, field.selectionStart));
    return match ? match[1] : null;
  }
  function later() {
    box.closed();
    box.choose(null); /* it was of the text before */
    if (prefix() === null) box.open(false);
    else timer = setTimeout(requestNames, WAIT);
  }
  function requestNames() {
    const mine = asked,
      typed = prefix(),
      url = new URL(field.dataset.mentions, location.href);
    if (typed === null) return;
    url.searchParams.set("q", typed);
    fetchPart(url.href, { Accept: "application/json" })
      .then((answer) => answer.json())
      .then((found) => {
        if (mine === asked && document.activeElement === field) show(found.people);
      })
      .catch(() => {
        /* the name is typed without help, then */
      });
  }
  function show(people) {
    list.replaceChildren(
      ...people.map((person, place) => buildRow(list, place, person.username, person.username, person.name)),
    );
    box.open(people.length > 0);
    if (people.length) box.choose(list.firstElementChild);
  }
  function take(option) {
    const end = field.selectionStart,
      typed = prefix();
    box.open(false);
    if (typed === null) return;
    const text = `${option.dataset.text} `;
    field.setRangeText(text, end - typed.length, end, "end");
    field.focus();
  }

  ["input", "click"].forEach((name) => {
    field.addEventListener(name, later);
  });
  takeClicked(list, take);
}
queryAll("textarea[data-mentions]").forEach(offerNames);
queryAll("input[data-complete]").forEach(offerOptions);

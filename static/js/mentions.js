/* The names behind an @ in the text of a comment, chosen by arrows and Enter or Tab. */
import { attachCombobox, createElement, queryAll } from "./plane.js";
import { fetchPart } from "./presence.js";

const WAIT = 120;
const TYPED = /(?:^|[^\p{L}\p{N}_@])@([\p{L}\p{N}_.+-]{0,80})$/u; /* names of any script, as the plane reads them */

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
    clearTimeout(timer);
    box.choose(null); /* it was of the text before */
    if (prefix() === null) box.open(false);
    else timer = setTimeout(requestNames, WAIT);
  }
  function requestNames() {
    const mine = (asked += 1),
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
      ...people.map((person, place) => {
        const row = createElement("span", { id: `${list.id}-${place}` });
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", "false");
        row.dataset.name = person.username;
        row.append(person.username, createElement("small", { textContent: person.name }));
        return row;
      }),
    );
    box.open(people.length > 0);
    if (people.length) box.choose(list.firstElementChild);
  }
  function take(option) {
    const end = field.selectionStart,
      typed = prefix();
    box.open(false);
    if (typed === null) return;
    const text = `${option.dataset.name} `;
    field.setRangeText(text, end - typed.length, end, "end");
    field.focus();
  }

  ["input", "click"].forEach((name) => {
    field.addEventListener(name, later);
  });
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
}
queryAll("textarea[data-mentions]").forEach(offerNames);

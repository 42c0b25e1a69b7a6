/* The field of a filter language: the server says what may come next, chosen by arrows and Enter or Tab. */
(function () {
  "use strict";
  var plane = window.plane, WAIT = 120;

  function help(field) {
    var list = document.getElementById(field.getAttribute("aria-controls")), box = plane.combobox(field, list, ["Enter", "Tab"], take);
    var told = null, asked = 0, timer = 0;

    box.closed = function () { clearTimeout(timer); asked += 1; };
    function later() {
      clearTimeout(timer);
      timer = setTimeout(ask, WAIT);
    }
    function ask() {
      var mine = asked += 1, url = new URL(field.dataset.complete, location.href);
      url.searchParams.set("filter", field.value);
      url.searchParams.set("at", field.selectionStart);
      plane.ask(url.href, { Accept: "application/json" }).then(function (answer) { return answer.json(); }).then(function (found) {
        if (mine === asked && document.activeElement === field) show(found);
      }).catch(function () { /* it is typed without help, then */ });
    }
    function show(found) {
      told = found;
      list.replaceChildren.apply(list, found.options.map(function (option, place) {
        var row = plane.make("span", { id: list.id + "-" + place });
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", "false");
        row.dataset.text = option.text;
        row.append(option.label, plane.make("small", { textContent: option.told }));
        return row;
      }));
      box.open(found.options.length > 0);
    }
    function take(option) {
      /* the server counts characters, a field half a pair as one */
      var letters = Array.from(field.value);
      var before = letters.slice(0, told.start).join("") + option.dataset.text;
      field.value = before + letters.slice(told.end).join("");
      field.setSelectionRange(before.length, before.length);
      box.open(false);
      field.focus();
      later();
    }

    ["input", "focus", "click"].forEach(function (name) { field.addEventListener(name, later); });
    list.addEventListener("click", function (event) {
      var option = event.target.closest("[role=option]");
      if (option) take(option);
    });
  }
  plane.all("input[data-complete]").forEach(help);
})();

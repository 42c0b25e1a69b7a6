/* The field of a filter language: the server says what may come next, chosen by arrows and Enter or Tab. */
(function () {
  "use strict";
  var plane = window.plane, WAIT = 120;

  function help(field) {
    var list = document.getElementById(field.getAttribute("aria-controls")), box = plane.combobox(field, list);
    var told = null, asked = 0, timer = 0;

    function open(yes) {
      box.open(yes);
      if (!yes) { clearTimeout(timer); asked += 1; }
    }
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
        var row = document.createElement("span"), about = document.createElement("small");
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", "false");
        row.id = list.id + "-" + place;
        row.dataset.text = option.text;
        about.textContent = option.told;
        row.append(option.label, about);
        return row;
      }));
      open(found.options.length > 0);
    }
    function take(option) {
      /* the server counts characters, a field half a pair as one */
      var letters = Array.from(field.value);
      var before = letters.slice(0, told.start).join("") + option.dataset.text;
      field.value = before + letters.slice(told.end).join("");
      field.setSelectionRange(before.length, before.length);
      open(false);
      field.focus();
      later();
    }

    ["input", "focus", "click"].forEach(function (name) { field.addEventListener(name, later); });
    field.addEventListener("blur", function () { open(false); });
    list.addEventListener("click", function (event) {
      var option = event.target.closest("[role=option]");
      if (option) take(option);
    });
    field.addEventListener("keydown", function (event) {
      if (event.isComposing) return;
      var key = event.key, shown = !list.hidden, chosen = box.chosen();
      if ((key === "ArrowDown" || key === "ArrowUp") && box.options().length) box.move(key === "ArrowDown" ? 1 : -1);
      else if (key === "Escape" && shown) { open(false); event.stopPropagation(); }
      else if ((key === "Enter" || key === "Tab") && shown && chosen) take(chosen);
      else return;
      event.preventDefault();
    });
  }
  plane.all("input[data-complete]").forEach(help);
})();

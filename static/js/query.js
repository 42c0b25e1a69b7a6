/* The field of a filter language: the server says what may come next, chosen by arrows and Enter or Tab (an ARIA combobox). */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all, WAIT = 120;

  function Field(input) {
    var self = this;
    this.input = input;
    this.list = document.getElementById(input.getAttribute("aria-controls"));
    this.found = null;
    this.asked = 0;
    input.addEventListener("input", function () { self.later(); });
    input.addEventListener("focus", function () { self.later(); });
    input.addEventListener("click", function () { self.later(); });
    input.addEventListener("blur", function () { self.open(false); });
    input.addEventListener("keydown", function (event) { self.key(event); });
    /* a press on the list must not take the focus away, or it would close before the click */
    this.list.addEventListener("mousedown", function (event) { event.preventDefault(); });
    this.list.addEventListener("click", function (event) {
      var option = event.target.closest("[role=option]");
      if (option) self.take(option);
    });
  }
  Field.prototype.options = function () { return all("[role=option]", this.list); };
  Field.prototype.chosen = function () { return one('[aria-selected="true"]', this.list); };
  Field.prototype.choose = function (option) {
    this.options().forEach(function (other) { other.setAttribute("aria-selected", String(other === option)); });
    if (!option) { this.input.removeAttribute("aria-activedescendant"); return; }
    this.input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  Field.prototype.open = function (yes) {
    this.list.hidden = !yes;
    this.input.setAttribute("aria-expanded", String(yes));
    if (!yes) { this.choose(null); clearTimeout(this.timer); this.asked += 1; }
  };
  Field.prototype.later = function () {
    var self = this;
    clearTimeout(this.timer);
    this.timer = setTimeout(function () { self.ask(); }, WAIT);
  };
  Field.prototype.ask = function () {
    var self = this, mine = this.asked += 1, url = new URL(this.input.dataset.complete, location.href);
    url.searchParams.set("filter", this.input.value);
    url.searchParams.set("at", this.input.selectionStart);
    plane.ask(url.href, { Accept: "application/json" }).then(function (answer) { return answer.json(); }).then(function (found) {
      if (mine === self.asked && document.activeElement === self.input) self.show(found);
    }).catch(function () { /* it is typed without help, then */ });
  };
  Field.prototype.show = function (found) {
    var list = this.list;
    this.found = found;
    list.textContent = "";
    found.options.forEach(function (option, place) {
      var row = document.createElement("span"), told = document.createElement("small");
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", "false");
      row.id = list.id + "-" + place;
      row.dataset.text = option.text;
      row.textContent = option.label;
      told.textContent = option.told;
      row.appendChild(told);
      list.appendChild(row);
    });
    this.open(found.options.length > 0);
  };
  Field.prototype.take = function (option) {
    /* the server counts characters, a field half a pair as one */
    var letters = Array.from(this.input.value), text = option.dataset.text;
    var before = letters.slice(0, this.found.start).join("") + text;
    this.input.value = before + letters.slice(this.found.end).join("");
    this.input.setSelectionRange(before.length, before.length);
    this.open(false);
    this.input.focus();
    this.later();
  };
  Field.prototype.key = function (event) {
    if (event.isComposing) return;
    var found = this.options(), shown = !this.list.hidden, at = found.indexOf(this.chosen());
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && found.length) {
      var next = event.key === "ArrowDown" ? at + 1 : at < 0 ? found.length - 1 : at - 1;
      this.open(true);
      this.choose(found[next] || null);
    } else if (event.key === "Escape" && shown) { this.open(false); event.stopPropagation(); }
    else if ((event.key === "Enter" || event.key === "Tab") && shown && at >= 0) this.take(found[at]);
    else return;
    event.preventDefault();
  };
  all("input[data-complete]").forEach(function (input) { new Field(input); });
})();

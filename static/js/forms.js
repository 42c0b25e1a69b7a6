/* Forms that are checked and look ahead while they are filled in. Without this file they do both on submit. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all;

  function formOf(element) {
    if (!element || !element.closest) return null;
    var form = element.closest("form[data-form]");
    if (form) return form;
    var names = element.getAttribute("hx-include");
    return names && names.charAt(0) === "#" ? one(names.split(",")[0]) : null;
  }
  function controlsOf(field) { return all("input:not([type=hidden]), select, textarea", field); }
  function valueOf(control) { return control.type === "checkbox" ? control.checked : control.value; }
  function filled(field) { return controlsOf(field).some(valueOf); }

  /* ---- errors: each answer tells those of every field; the ones that were touched or filled in show theirs ---- */
  function showError(field, text) {
    var error = one(":scope > .err", field);
    if (!error) return;
    one("span", error).textContent = text;
    error.hidden = !text;
    field.classList.toggle("bad", !!text);
    controlsOf(field).forEach(function (control) {
      if (text) control.setAttribute("aria-invalid", "true"); else control.removeAttribute("aria-invalid");
    });
  }
  function takeErrors(form, answer) {
    all(".field[id]", form).forEach(function (field) {
      var fresh = answer.getElementById(field.id), error = fresh && one(".err", fresh);
      if (!error) return;
      var text = error.hidden ? "" : one("span", error).textContent;
      var typing = field.contains(document.activeElement) && !field.dataset.left;
      if (text && (typing || !(field.dataset.touched || filled(field)))) return; /* not while it is being typed */
      showError(field, text);
    });
  }
  document.addEventListener("htmx:afterRequest", function (event) {
    var asked = event.detail.requestConfig; /* the event's own element is another where the asking one was swapped */
    var form = formOf(asked && asked.elt), answer = event.detail.xhr && event.detail.xhr.responseText;
    if (form && event.detail.successful && answer) takeErrors(form, plane.parsed(answer));
  });
  document.addEventListener("change", function (event) {
    var field = plane.hit(event, "form[data-form] .field");
    if (!field) return;
    field.dataset.touched = "1";
    field.dataset.left = "1"; /* a change is told when the field is left, or by a choice */
  });
  document.addEventListener("input", function (event) {
    var field = plane.hit(event, "form[data-form] .field");
    if (field) delete field.dataset.left;
  });

  /* ---- what was changed while an answer was under way is not renewed by it: it was asked for without that ---- */
  function stateOf(field) {
    return controlsOf(field).map(valueOf).join("\n");
  }
  document.addEventListener("htmx:configRequest", function (event) {
    var form = event.detail.elt.closest("form[data-form] .field") && formOf(event.detail.elt);
    if (form) all(".field[id]", form).forEach(function (field) { field.dataset.sent = stateOf(field); }); /* one at a time: they queue */
  });
  document.addEventListener("htmx:oobBeforeSwap", function (event) {
    var part = event.detail.target;
    if (!part || !part.matches) return;
    var changed = (part.matches(".field[id]") ? [part] : all(".field[id]", part)).some(function (field) {
      return field.dataset.sent !== undefined && field.dataset.sent !== stateOf(field);
    });
    if (changed) event.detail.shouldSwap = false;
  });

  /* ---- a list that grows, shrinks or is put in order: the form is renewed in place, and what follows from it ---- */
  var unfolded = [], sent = {}, typed = {}, writing = "";
  function textsOf(form) {
    var texts = {};
    named(form).forEach(function (control) { if (control.type !== "checkbox") texts[control.name] = control.value; });
    return texts;
  }
  function listOp(event) {
    var form = event.detail.target, asked = event.detail.requestConfig, op = asked && asked.parameters && asked.parameters.op;
    op = [].concat(op).pop(); /* htmx sends a button's name twice */
    var found = form && form.matches && form.matches("form[data-form]") && /^(add|del|up|down):(.+)$/.exec(String(op));
    return found ? { form: form, verb: found[1], pointer: found[2] } : null;
  }
  function entryAfter(change) {
    var parts = /^(.*)\/(\d+)$/.exec(change.pointer), entries = ":scope > .group";
    var list = one('[data-pointer="' + (change.verb === "add" ? change.pointer : parts[1]) + '"]', change.form);
    var shown = list ? all(entries, list) : [], place = change.verb === "add" ? shown.length - 1 : Number(parts[2]);
    if (change.verb === "up") place -= 1;
    if (change.verb === "down") place += 1;
    return shown[Math.max(0, Math.min(place, shown.length - 1))] || list;
  }
  document.addEventListener("htmx:configRequest", function (event) {
    var button = event.detail.elt, form = button.matches('button[name="op"]') && button.closest("form[data-form]");
    if (form) sent = textsOf(form);
  });
  document.addEventListener("htmx:beforeSwap", function (event) {
    var change = listOp(event);
    if (change) {
      unfolded = all("details[open][id]", change.form).map(function (group) { return group.id; });
      var now = textsOf(change.form), focus = document.activeElement;
      typed = {}; /* while the answer was under way; other changes than an addition give entries other names */
      if (change.verb === "add") Object.keys(now).forEach(function (name) { if (now[name] !== sent[name]) typed[name] = now[name]; });
      writing = focus && focus.id && focus.name && change.form.contains(focus) && focus.type !== "submit" ? focus.id : "";
    }
    if (!change || plane.parsed(event.detail.xhr.responseText).getElementById(change.form.id)) return;
    event.detail.shouldSwap = false; /* for instance the page to sign in */
    location.reload();
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    var change = listOp(event), entry = change && entryAfter(change);
    if (!change) return;
    unfolded.forEach(function (id) { var group = document.getElementById(id); if (group) group.open = true; });
    named(change.form).forEach(function (control) { if (control.name in typed && control.type !== "checkbox") control.value = typed[control.name]; });
    change.form.dispatchEvent(new Event("input", { bubbles: true })); /* the preview and the outlook follow */
    if (writing && document.getElementById(writing)) { document.getElementById(writing).focus({ preventScroll: true }); return; }
    if (!entry) return;
    var control = controlsOf(entry).filter(function (each) { return each.offsetParent && !each.disabled; })[0] || one("button", entry);
    if (control) control.focus({ preventScroll: true });
    entry.scrollIntoView({ block: "nearest" });
  });

  /* ---- what the reader has opened stays open where a part renews itself ---- */
  var open = {};
  document.addEventListener("htmx:oobBeforeSwap", function (event) {
    var part = event.detail.target;
    if (part && part.id) open[part.id] = all("details", part).map(function (element) { return element.open; });
  });
  document.addEventListener("htmx:oobAfterSwap", function (event) {
    var part = event.detail.target, id = part && part.id;
    var fresh = id && document.getElementById(id);
    if (fresh && open[id]) all("details", fresh).forEach(function (element, place) { if (open[id][place]) element.open = true; });
  });

  /* ---- the list of errors: read first, and each entry leads into its field ---- */
  document.addEventListener("click", function (event) {
    var link = plane.hit(event, '.errs a[href^="#f"]');
    var target = link && document.getElementById(link.getAttribute("href").slice(1));
    if (!target) return;
    event.preventDefault();
    for (var group = target.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
    target.scrollIntoView({ block: "center" });
    target.focus({ preventScroll: true });
  });
  var problems = one("[data-problems]");
  if (problems) problems.focus();

  /* ---- what was typed comes back with the page: browsers forget it where they must not complete it ---- */
  function keyOf(form) { return "form:" + location.pathname + location.search + "#" + form.id; }
  function named(form) {
    return all("input[name], select[name], textarea[name]", form).filter(function (control) { return !/^(hidden|file|password)$/.test(control.type); });
  }
  function keep(form) {
    var rows = named(form).map(function (control) { return [control.name, valueOf(control)]; });
    try { sessionStorage.setItem(keyOf(form), JSON.stringify(rows)); } catch (error) { /* full or forbidden: then not */ }
  }
  function bringBack(form) {
    var rows = null;
    try { rows = JSON.parse(sessionStorage.getItem(keyOf(form)) || "null"); } catch (error) { return; }
    var controls = named(form);
    if (!rows || rows.length !== controls.length) return;
    var changed = false;
    controls.forEach(function (control, place) {
      if (rows[place][0] !== control.name) return;
      var value = rows[place][1];
      if (valueOf(control) === value) return;
      changed = true;
      control[control.type === "checkbox" ? "checked" : "value"] = value;
    });
    if (changed) form.dispatchEvent(new Event("input", { bubbles: true }));
  }
  document.addEventListener("input", function (event) {
    var form = plane.hit(event, "form[data-form]");
    if (form) keep(form);
  });
  function forget() {
    Object.keys(sessionStorage).forEach(function (key) { if (key.indexOf("form:") === 0) sessionStorage.removeItem(key); });
  }
  window.addEventListener("load", function () {
    /* where somebody signs in, it may be somebody else */
    if (one("input[type=password]") && !one("form[data-form]")) { try { forget(); } catch (error) { /* nothing was kept */ } }
    var how = performance.getEntriesByType("navigation")[0];
    if (!how || how.type === "navigate") return;
    all("form[data-form]").forEach(bringBack);
  });
})();

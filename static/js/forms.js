/* Forms that are checked and look ahead while they are filled in. Without this file they do both on submit. */
import { closestTarget, parseHtml, query, queryAll } from "./plane.js";
import { isEdited } from "./presence.js";

function formOf(element) {
  if (!element?.closest) return null;
  const form = element.closest("form[data-form]");
  if (form) return form;
  const names = element.getAttribute("hx-include");
  return names?.charAt(0) === "#" ? query(names.split(",")[0]) : null;
}
function controlsOf(field) {
  return queryAll("input:not([type=hidden]), select, textarea", field);
}
function valueOf(control) {
  return control.type === "checkbox" ? control.checked : control.value;
}

/* ---- errors: each answer tells those of every field; the ones that were touched or filled in show theirs ---- */
function showError(field, text) {
  const error = query(":scope > .err", field);
  if (!error) return;
  query("span", error).textContent = text;
  error.hidden = !text;
  field.classList.toggle("bad", !!text);
  controlsOf(field).forEach((control) => {
    if (text) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
  });
}
function takeErrors(form, answer) {
  queryAll(".field[id]", form).forEach((field) => {
    const fresh = answer.getElementById(field.id),
      error = fresh && query(".err", fresh);
    if (!error) return;
    const text = error.hidden ? "" : query("span", error).textContent;
    const typing = field.contains(document.activeElement) && !field.dataset.left;
    if (text && (typing || !(field.dataset.touched || controlsOf(field).some(valueOf))))
      return; /* not while it is being typed */
    showError(field, text);
  });
}
document.addEventListener("htmx:afterRequest", (event) => {
  const asked = event.detail.requestConfig; /* the event's own element is another where the asking one was swapped */
  const form = formOf(asked?.elt),
    answer = event.detail.xhr?.responseText;
  if (form && event.detail.successful && answer) takeErrors(form, parseHtml(answer));
});
document.addEventListener("change", (event) => {
  const field = closestTarget(event, "form[data-form] .field");
  if (!field) return;
  field.dataset.touched = "1";
  field.dataset.left = "1"; /* a change is told when the field is left, or by a choice */
});
document.addEventListener("input", (event) => {
  const field = closestTarget(event, "form[data-form] .field");
  if (field) delete field.dataset.left;
});

/* ---- a file suggests a name until one is typed ---- */
document.addEventListener("change", (event) => {
  const picked = closestTarget(event, "input[data-names]"),
    field = picked && query(`[name="${picked.dataset.names}"]`, picked.form);
  if (!field || !picked.files[0] || field.value !== (field.dataset.named || "")) return;
  const stem = picked.files[0].name.toLowerCase().replace(/\.\w+$/, "");
  field.value = field.dataset.named = stem
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-/, "")
    .slice(0, 50);
});

/* ---- what was changed while an answer was under way is not renewed by it: it was asked for without that ---- */
function stateOf(field) {
  return controlsOf(field).map(valueOf).join("\n");
}
document.addEventListener("htmx:configRequest", (event) => {
  const form = event.detail.elt.closest("form[data-form] .field") && formOf(event.detail.elt);
  if (form)
    queryAll(".field[id]", form).forEach((field) => {
      field.dataset.sent = stateOf(field);
    }); /* one at a time: they queue */
});
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const part = event.detail.target;
  if (!part?.matches) return;
  const changed = (part.matches(".field[id]") ? [part] : queryAll(".field[id]", part)).some(
    (field) => field.dataset.sent !== undefined && field.dataset.sent !== stateOf(field),
  );
  const pasted = query("#f-json", part);
  if (changed || (pasted && pasted.value !== pasted.defaultValue)) event.detail.shouldSwap = false;
});

/* ---- a list that grows, shrinks or is put in order: the form is renewed in place, and what follows from it ---- */
let unfolded = [],
  sent = {},
  typed = {},
  writing = "";
function nameOf(control) {
  return control.type === "checkbox" ? `${control.name} ${control.value}` : control.name;
}
function setValue(control, value) {
  control[control.type === "checkbox" ? "checked" : "value"] = value;
}
function valuesOf(form) {
  return Object.fromEntries(named(form).map((control) => [nameOf(control), valueOf(control)]));
}
function listOp(event) {
  const form = event.detail.target;
  const op = [].concat(event.detail.requestConfig?.parameters?.op).pop(); /* htmx sends a button's name twice */
  const found = form?.matches?.("form[data-form]") && /^(add|del|up|down):(.+)$/.exec(op);
  return found ? { form, verb: found[1], pointer: found[2] } : null;
}
function entryAfter(change) {
  const parts = /^(.*)\/(\d+)$/.exec(change.pointer);
  const list = query(`[data-pointer="${change.verb === "add" ? change.pointer : parts[1]}"]`, change.form);
  const shown = list ? queryAll(":scope > .group", list) : [];
  let place = change.verb === "add" ? shown.length - 1 : Number(parts[2]);
  if (change.verb === "up") place -= 1;
  if (change.verb === "down") place += 1;
  return shown[Math.max(0, Math.min(place, shown.length - 1))] || list;
}
document.addEventListener("htmx:configRequest", (event) => {
  const button = event.detail.elt,
    form = button.matches('button[name="op"]') && button.closest("form[data-form]");
  if (form) sent = valuesOf(form);
});
document.addEventListener("htmx:beforeSwap", (event) => {
  const change = listOp(event);
  if (change) {
    unfolded = queryAll("details[open][id]", change.form).map((group) => group.id);
    const now = valuesOf(change.form),
      focus = document.activeElement,
      list = change.verb !== "add" && change.pointer.replace(/\d+$/, "");
    typed = {}; /* while the answer was under way; other changes than an addition give entries other names */
    Object.keys(now).forEach((name) => {
      if (now[name] !== sent[name] && !(list && name.startsWith(list))) typed[name] = now[name];
    });
    writing = focus?.id && focus.name && change.form.contains(focus) && focus.type !== "submit" ? focus.id : "";
  }
  if (!change || parseHtml(event.detail.xhr.responseText).getElementById(change.form.id)) return;
  event.detail.shouldSwap = false; /* for instance the page to sign in */
  location.reload();
});
document.addEventListener("htmx:afterSwap", (event) => {
  const change = listOp(event);
  if (!change) return;
  const entry = entryAfter(change);
  unfolded.forEach((id) => {
    const group = document.getElementById(id);
    if (group) group.open = true;
  });
  named(change.form).forEach((control) => {
    const name = nameOf(control);
    if (!(name in typed)) return;
    setValue(control, typed[name]);
    /* once htmx knows it: what depends on a choice */
    if (control.tagName === "SELECT") setTimeout(() => control.dispatchEvent(new Event("change", { bubbles: true })));
  });
  change.form.dispatchEvent(new Event("input", { bubbles: true })); /* the preview and the outlook follow */
  const field = writing && document.getElementById(writing);
  if (!field && !entry) return;
  const control =
    field || controlsOf(entry).find((each) => each.offsetParent && !each.disabled) || query("button", entry);
  control?.focus({ preventScroll: true });
  if (!field) entry.scrollIntoView({ block: "nearest" });
});

/* ---- what the reader has opened stays open where a part renews itself ---- */
const open = {};
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const part = event.detail.target;
  if (part?.id) open[part.id] = queryAll("details", part).map((element) => element.open);
});
document.addEventListener("htmx:oobAfterSwap", (event) => {
  const part = event.detail.target,
    id = part?.id;
  const fresh = id && document.getElementById(id);
  if (fresh && open[id])
    queryAll("details", fresh).forEach((element, place) => {
      if (open[id][place]) element.open = true;
    });
});

/* ---- the list of errors: read first, and each entry leads into its field ---- */
document.addEventListener("click", (event) => {
  const link = closestTarget(event, '.errs a[href^="#f"]');
  const target = link && document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  event.preventDefault();
  for (let group = target.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
  target.scrollIntoView({ block: "center" });
  target.focus({ preventScroll: true });
});
query("[data-problems]")?.focus();

/* ---- what was typed comes back with the page: browsers forget it where they must not complete it ---- */
function keyOf(form) {
  return `form:${location.pathname}${location.search}#${form.id}`;
}
function named(form) {
  return queryAll("input[name], select[name], textarea[name]", form).filter(
    (control) => !/^(hidden|file|password)$/.test(control.type),
  );
}
function keep(form) {
  const rows = named(form).map((control) => [control.name, valueOf(control)]);
  try {
    sessionStorage.setItem(keyOf(form), JSON.stringify(rows));
  } catch {
    /* full or forbidden: then not */
  }
}
function bringBack(form) {
  let rows = null;
  try {
    rows = JSON.parse(sessionStorage.getItem(keyOf(form)) || "null");
  } catch {
    return;
  }
  const controls = named(form);
  if (!rows || rows.length !== controls.length) return;
  let changed = false;
  controls.forEach((control, place) => {
    if (rows[place][0] !== control.name) return;
    const value = rows[place][1];
    if (valueOf(control) === value) return;
    changed = true;
    setValue(control, value);
  });
  if (changed) form.dispatchEvent(new Event("input", { bubbles: true }));
}
document.addEventListener("input", (event) => {
  const form = closestTarget(event, "form[data-form]");
  if (form) keep(form);
});
window.addEventListener("load", () => {
  /* where somebody signs in, it may be somebody else */
  if (query("input[type=password]") && !query("form[data-form]")) {
    try {
      Object.keys(sessionStorage).forEach((key) => {
        if (key.startsWith("form:")) sessionStorage.removeItem(key);
      });
    } catch {
      /* nothing was kept */
    }
  }
  const how = performance.getEntriesByType("navigation")[0];
  queryAll("form[data-form]").forEach((form) => {
    if (how && how.type !== "navigate") bringBack(form);
    else if (isEdited(form)) form.dispatchEvent(new Event("input", { bubbles: true })); /* before this script came */
  });
});

/* What every page needs beyond HTML: copying, theme, keys, menus, dialogs, times and numbers.
   No inline script, no eval, no framework. Everything is delegated, so parts swapped in later work too.
   live.js, lists.js and others import what they need of it. */
const root = document.documentElement;
const lang = root.lang || "en";
const body = document.body;
const NONE = "–";
const zh = lang.indexOf("zh") === 0;

function query(selector, from) {
  return (from || document).querySelector(selector);
}
function queryAll(selector, from) {
  return Array.from((from || document).querySelectorAll(selector));
}
function parseHtml(text) {
  return new DOMParser().parseFromString(text, "text/html");
}
/* what an event happened in, or null */
function closestTarget(event, selector) {
  return event.target instanceof Element ? event.target.closest(selector) : null;
}
function createElement(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/* ---- toast: a short word that goes, over one that stands until its cause is gone (presence.js) ---- */
let toastTimer = 0,
  stands = null;
function put(said) {
  const box = query("#toast");
  if (!box) return;
  box.replaceChildren(said ? said.text : "");
  if (said?.link) box.append(" ", createElement("a", { href: said.url, textContent: said.link }));
  box.classList.toggle("failed", Boolean(said?.failed));
  box.hidden = !said;
}
function showToast(text, more) {
  put({ text, failed: more?.failed });
  clearTimeout(toastTimer);
  toastTimer = setTimeout(
    () => {
      toastTimer = 0;
      put(stands);
    },
    more?.failed ? 12000 : 4000,
  );
}
function showStandingMessage(said) {
  stands = said || null;
  if (!toastTimer) put(stands);
}

/* ---- copy ---- */
/* plain http inside a closed network has no clipboard interface, and a policy may refuse it */
async function copyBySelection(text) {
  const area = createElement("textarea", { value: text, className: "sr" });
  (query("dialog[open]") || body).appendChild(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copy refused");
}
function copyText(text) {
  if (!navigator.clipboard || !window.isSecureContext) return copyBySelection(text);
  return navigator.clipboard.writeText(text).catch(() => copyBySelection(text));
}
function copyFrom(button) {
  copyText(button.dataset.copy).then(
    () => {
      button.classList.add("done");
      showToast(body.dataset.copied);
      setTimeout(() => button.classList.remove("done"), 2000);
    },
    () => showToast(body.dataset.copyFailed),
  );
  button.focus();
}

/* ---- theme: system, light, dark, and round again ---- */
function nameTheme() {
  const now = root.dataset.theme || "system";
  queryAll("[data-theme-next]").forEach((button) => {
    button.ariaLabel = button.title = body.getAttribute(`data-theme-${now}`);
  });
}
function nextTheme() {
  const next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("theme", next || "system");
  } catch {
    /* stays for this page */
  }
  nameTheme();
}

/* ---- dialogs ---- */
function openDialog(id) {
  const dialog = document.getElementById(id);
  if (dialog?.showModal && !dialog.open) dialog.showModal();
}

/* ---- times in the zone that the reader has set, else in the browser's ---- */
const zone = root.dataset.zone || undefined;
const clock = new Intl.DateTimeFormat("en-GB", {
  timeZone: zone,
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const day = new Intl.DateTimeFormat(zh ? "zh-CN" : "en-GB", { timeZone: zone, day: "numeric", month: "short" });
const date = new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" });
function formatTime(moment, onlyClock) {
  const now = date.format(new Date()),
    then = date.format(moment),
    time = clock.format(moment);
  if (onlyClock || then === now) return time;
  return `${then.slice(0, 4) === now.slice(0, 4) ? day.format(moment) : then} ${time.slice(0, 5)}`;
}
const JUST_NOW = 45,
  RELATIVE = 7 * 86400; /* s; as the server has it */
const AGO = zh ? ["刚刚", "前", "后"] : ["just now", " ago", "in "];
function formatRelative(moment) {
  const seconds = (Date.now() - moment) / 1000,
    distance = Math.abs(seconds);
  if (distance >= RELATIVE) return formatTime(moment);
  if (distance < JUST_NOW) return AGO[0];
  const [unit, size] = SIZES.find((each) => distance >= each[1] || each[0] === "min");
  const text = Math.max(1, Math.floor(distance / size)) + UNITS[unit];
  if (seconds > 0) return text + AGO[1];
  return zh ? text + AGO[2] : AGO[2] + text;
}
function localizeTimes(from) {
  queryAll("time[data-when]", from).forEach((element) => {
    const moment = new Date(element.dateTime);
    if (isNaN(moment)) return;
    const text =
      element.dataset.when === "relative"
        ? formatRelative(moment)
        : formatTime(moment, element.dataset.when === "time");
    if (element.textContent !== text) element.textContent = text;
    element.title = moment.toLocaleString(lang, { timeZone: zone, timeZoneName: "short" });
  });
}

/* ---- numbers, as the server writes them ---- */
const UNITS = zh
  ? { d: " 天", h: " 小时", min: " 分", s: " 秒", ms: " 毫秒" }
  : { d: " d", h: " h", min: " min", s: " s", ms: " ms" };
const SIZES = Object.entries({ d: 86400, h: 3600, min: 60, s: 1 }); /* in seconds */
function grouped(value, decimals) {
  return value
    .toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
    .replace("-", "−");
}
const FORMATS = {
  number(value) {
    if (Number.isInteger(value)) return grouped(value, 0);
    if (value !== 0 && Math.abs(value) < 1e-5) return value.toExponential(2);
    const size = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
    return value.toLocaleString("en", { maximumFractionDigits: Math.max(0, 3 - size) }).replace("-", "−");
  },
  share(value) {
    return `${grouped(value * 100, 1).replace(/\.0$/, "")} %`;
  },
  bytes(value) {
    const names = ["B", "kB", "MB", "GB", "TB", "PB"];
    let i = 0;
    while (Math.abs(value) >= 999.95 && i < names.length - 1) {
      value /= 1000;
      i += 1;
    }
    return `${grouped(value, i ? 1 : 0)} ${names[i]}`;
  },
  duration(value) {
    if (value < 0.1) return Math.round(value * 1000) + UNITS.ms;
    if (value < 10) return Math.round(value * 100) / 100 + UNITS.s;
    let left = Math.round(value);
    const parts = [];
    let started = 0;
    SIZES.forEach(([unit, size]) => {
      const count = Math.floor(left / size);
      left -= count * size;
      if (count || started) {
        started += 1;
        if (count && started <= 2) parts.push(count + UNITS[unit]);
      }
    });
    return parts.join(" ");
  },
};
function showValue(element, value) {
  let text = value === null || value === undefined ? NONE : String(value);
  const format = FORMATS[element.dataset.format];
  if (format && typeof value === "number" && isFinite(value)) text = format(value);
  if (element.textContent !== text) element.textContent = text;
}

function isTyping(target) {
  return (
    target.isContentEditable ||
    (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !/^(checkbox|radio|button|submit)$/.test(target.type))
  );
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    queryAll("details.menu[open]").forEach((menu) => {
      menu.open = false;
      query("summary", menu).focus();
    });
    if (isTyping(event.target) && event.target.type === "search") event.target.blur();
    return;
  }
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    event.isComposing ||
    isTyping(event.target) ||
    query("dialog[open]")
  )
    return;
  let field;
  if (event.key === "/") {
    field = query('.find input, .bar input[type="search"]');
    field?.focus();
    field?.select();
  } else if (event.key === "?") openDialog("keys");
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const target = event.target;
  let found;
  if (!(target instanceof Element)) return;
  queryAll("details.menu[open]").forEach((menu) => {
    menu.open = menu.contains(target);
  });
  if ((found = target.closest("[data-copy]"))) copyFrom(found);
  else if (target.closest("[data-theme-next]")) nextTheme();
  else if ((found = target.closest("[data-dialog]"))) {
    event.preventDefault();
    found.closest("details.menu")?.removeAttribute("open");
    openDialog(found.dataset.dialog);
  } else if ((found = target.closest("[data-close]"))) {
    event.preventDefault();
    found.closest("dialog").close();
  } else if ((found = target.closest("[data-dismiss]"))) found.closest(".note").remove();
  else if (target.matches("dialog.dlg[open]")) target.close(); /* the ground around the card */
});

document.addEventListener("change", (event) => {
  const target = event.target;
  const form = target.closest("form[data-autosubmit]");
  if (form && target.matches("select, input[type=date], input[type=checkbox]")) form.requestSubmit();
});
let sending = null; /* the form whose answer is awaited */
const endSending = () => {
  sending = null;
};
/* an empty filter has no place in an address that people pass on */
document.addEventListener("submit", (event) => {
  const form = event.target,
    method = (form.getAttribute("method") || "get").toLowerCase();
  if (form.matches("[data-theme-form]")) {
    try {
      localStorage.removeItem("theme");
    } catch {
      /* nothing was kept */
    }
  }
  if (method !== "get") {
    /* a second press of a button must not send the form twice; no event tells when a file has come */
    if (form === sending) event.preventDefault();
    else if (method === "post" && !form.matches("[hx-post], [data-saves]")) {
      sending = form;
      if (!window.navigation) setTimeout(endSending, 4000); /* it tells of no stop */
      keepPlace();
    }
    return;
  }
  if (form.matches("[data-draws]") && query("[data-redraws]")) return; /* it stays */
  queryAll("input[name], select[name]", form).forEach((field) => {
    /* fields that are repeated together go or stay together, by the first of them */
    const group = field.closest("[data-together]");
    if ((group ? query("[name]", group) : field).value !== "" || field.disabled) return;
    field.disabled = true;
    field.dataset.left = "1";
  });
});
window.navigation?.addEventListener("navigateerror", endSending); /* stopped by the reader */
window.addEventListener("pageshow", () => {
  endSending();
  queryAll("form[method=get] [data-left]").forEach((field) => {
    field.disabled = false;
    delete field.dataset.left;
  });
});
/* ---- a page that comes back after a form of its own stands where it was; its answer is then told below ---- */
const PLACE_SECONDS = 20;
function keepPlace() {
  try {
    const place = { path: location.pathname, top: window.scrollY, at: Date.now() };
    sessionStorage.setItem("place", JSON.stringify(place));
  } catch {
    /* nothing is kept then */
  }
}
function restorePlace() {
  let place = null;
  try {
    place = JSON.parse(sessionStorage.getItem("place") || "null");
    sessionStorage.removeItem("place");
  } catch {
    return;
  }
  if (!place || place.path !== location.pathname || Date.now() - place.at > PLACE_SECONDS * 1000) return;
  if (location.hash || query("[data-problems], [aria-invalid=true], dialog[data-open]")) return;
  window.scrollTo(0, place.top);
  const answer = query("main > .flash");
  if (answer?.getBoundingClientRect().bottom < 0) showToast(answer.textContent.trim());
}

/* what is open now; the answer opens it again */
function keepOpen(from) {
  const ids = queryAll("details[id][open]", from).map((element) => element.id);
  return () => {
    ids.forEach((id) => {
      const element = document.getElementById(id);
      if (element) element.open = true;
    });
  };
}
/* a part that renews itself keeps open what the reader has opened in it, and the focus where it was */
let reopen = null,
  focused = null;
function keepState(target) {
  const here = document.activeElement;
  reopen = keepOpen(target);
  focused =
    here && here !== body && target.contains(here)
      ? { id: here.id, href: here.getAttribute("href"), name: here.getAttribute("name") }
      : null;
}
function restoreState(target) {
  const was = focused;
  reopen?.();
  reopen = focused = null;
  if (!was || (document.activeElement !== body && document.activeElement)) return;
  let found =
    (was.id && document.getElementById(was.id)) ||
    (was.href && query(`a[href="${CSS.escape(was.href)}"]`, target)) ||
    (was.name && query(`[name="${CSS.escape(was.name)}"]`, target));
  if (!found && target?.isConnected) {
    found = target;
    found.tabIndex = -1;
  }
  found?.focus({ preventScroll: true });
}
document.addEventListener("htmx:beforeSwap", (event) => {
  keepState(event.detail.target);
});
document.addEventListener("htmx:afterSettle", (event) => {
  restoreState(event.detail.elt || event.detail.target);
  localizeTimes();
  /* a field's error was checked on leaving it: say so to readers too */
  queryAll(".field > .err[id]").forEach((error) => {
    const control = document.getElementById(error.id.slice(0, -2));
    if (!control) return;
    if (error.hidden) control.removeAttribute("aria-invalid");
    else control.setAttribute("aria-invalid", "true");
    error.parentElement.classList.toggle("bad", !error.hidden);
  });
});

/* ---- a combobox after ARIA's pattern: the field keeps the focus, one option of the list may be chosen ---- */
function attachCombobox(field, list, keys, take) {
  const box = { options, choose, open, closed() {} };
  function options() {
    return queryAll("[role=option]", list);
  }
  function chosen() {
    return query('[aria-selected="true"]', list);
  }
  function choose(option) {
    options().forEach((other) => {
      other.setAttribute("aria-selected", String(other === option));
    });
    if (!option) {
      field.removeAttribute("aria-activedescendant");
      return;
    }
    field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }
  function open(yes) {
    list.hidden = !yes;
    field.setAttribute("aria-expanded", String(yes));
    if (yes) return;
    choose(null);
    box.closed();
  }
  function move(by) {
    const found = options(),
      at = found.indexOf(chosen());
    if (!found.length) return;
    open(true);
    /* above the first and below the last one is the field itself */
    choose(found[at < 0 && by < 0 ? found.length - 1 : at + by] || null);
  }
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return; /* Enter and arrows then choose a Chinese word */
    const key = event.key,
      shown = !list.hidden;
    if ((key === "ArrowDown" || key === "ArrowUp") && options().length) move(key === "ArrowDown" ? 1 : -1);
    else if (key === "Escape" && shown) {
      open(false);
      event.stopPropagation();
    } else if (keys.includes(key) && shown && chosen()) take(chosen());
    else return;
    event.preventDefault();
  });
  field.addEventListener("blur", () => {
    open(false);
  });
  /* a press on the list must not take the focus away, or it would close before the click */
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
  });
  return box;
}

export {
  query,
  queryAll,
  parseHtml,
  closestTarget,
  createElement,
  clamp,
  attachCombobox,
  showToast,
  showStandingMessage,
  keepOpen,
  keepState,
  restoreState,
  showValue,
  formatTime,
  localizeTimes,
  isTyping,
  FORMATS,
};
nameTheme();
localizeTimes();
setInterval(() => {
  if (!document.hidden) localizeTimes();
}, 30000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) localizeTimes();
});
/* the tab of this page is in sight, however narrow the window */
queryAll(".tabs [aria-current]").forEach((tab) => {
  tab.parentNode.scrollLeft =
    tab.offsetLeft + tab.offsetWidth / 2 - (tab.parentNode.offsetLeft + tab.parentNode.clientWidth / 2);
});
queryAll("[data-browser-zone]").forEach((place) => {
  place.textContent = place.dataset.browserZone.replace("{zone}", Intl.DateTimeFormat().resolvedOptions().timeZone);
});
restorePlace();
queryAll("dialog[data-open]").forEach((dialog) => {
  openDialog(dialog.id);
}); /* its answer was refused */

/* What a page needs beyond HTML: copying, theme, keys, menus, dialogs, and the live job stream.
   No inline script, no eval, no framework. Everything is delegated, so parts swapped in later work too. */
(function () {
  "use strict";
  var root = document.documentElement;
  var lang = root.lang || "en";
  var body = document.body;
  var NONE = "–";

  function one(selector, from) { return (from || document).querySelector(selector); }
  function all(selector, from) { return Array.from((from || document).querySelectorAll(selector)); }

  /* ---- toast ---- */
  var toastTimer = 0;
  function toast(text) {
    var box = one("#toast");
    if (!box) return;
    box.textContent = text;
    box.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(function () { box.hidden = true; }, 4000);
  }

  /* ---- copy ---- */
  /* plain http inside a closed network has no clipboard interface, and a policy may refuse it */
  function copyBySelection(text) {
    return new Promise(function (resolve, reject) {
      var area = document.createElement("textarea");
      area.value = text;
      area.className = "sr";
      (one("dialog[open]") || body).appendChild(area);
      area.select();
      var done = document.execCommand("copy");
      area.remove();
      if (done) resolve(); else reject(new Error("copy refused"));
    });
  }
  function copyText(text) {
    if (!navigator.clipboard || !window.isSecureContext) return copyBySelection(text);
    return navigator.clipboard.writeText(text).catch(function () { return copyBySelection(text); });
  }
  function copyFrom(button) {
    copyText(button.dataset.copy).then(function () {
      button.classList.add("done");
      toast(body.dataset.copied);
      setTimeout(function () { button.classList.remove("done"); }, 2000);
    }, function () { toast(body.dataset.copyFailed); });
    button.focus();
  }

  /* ---- theme: system, light, dark, and round again ---- */
  function nameTheme() {
    var now = root.dataset.theme || "system";
    var words = body.getAttribute("data-theme-" + now);
    all("[data-theme-next]").forEach(function (button) { button.setAttribute("aria-label", words); button.title = words; });
  }
  function nextTheme() {
    var next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { if (next) localStorage.setItem("theme", next); else localStorage.removeItem("theme"); } catch (error) { /* stays for this page */ }
    nameTheme();
  }

  /* ---- dialogs ---- */
  function openDialog(id) {
    var dialog = document.getElementById(id);
    if (dialog && dialog.showModal && !dialog.open) dialog.showModal();
  }

  /* ---- times in the browser's zone ---- */
  var clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  var day = new Intl.DateTimeFormat(lang.indexOf("zh") === 0 ? "zh-CN" : "en-GB", { day: "numeric", month: "short" });
  function two(value) { return String(value).padStart(2, "0"); }
  function sayTime(moment, onlyClock) {
    var now = new Date();
    if (onlyClock || moment.toDateString() === now.toDateString()) return clock.format(moment);
    var hm = two(moment.getHours()) + ":" + two(moment.getMinutes());
    if (moment.getFullYear() === now.getFullYear()) return day.format(moment) + " " + hm;
    return moment.getFullYear() + "-" + two(moment.getMonth() + 1) + "-" + two(moment.getDate()) + " " + hm;
  }
  function localTimes(from) {
    all("time[data-when]", from).forEach(function (element) {
      var moment = new Date(element.dateTime);
      if (isNaN(moment)) return;
      element.textContent = sayTime(moment, element.dataset.when === "time");
      element.title = moment.toLocaleString(lang, { timeZoneName: "short" });
    });
  }

  /* ---- numbers, as the server writes them ---- */
  var zh = lang.indexOf("zh") === 0;
  var UNITS = zh ? { d: " 天", h: " 小时", min: " 分", s: " 秒", ms: " 毫秒" } : { d: " d", h: " h", min: " min", s: " s", ms: " ms" };
  function grouped(value, decimals) {
    return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replace("-", "−");
  }
  var FORMATS = {
    number: function (value) {
      if (Number.isInteger(value)) return grouped(value, 0);
      if (value !== 0 && Math.abs(value) < 1e-5) return value.toExponential(2);
      var size = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
      return value.toLocaleString("en", { maximumFractionDigits: Math.max(0, 3 - size) }).replace("-", "−");
    },
    share: function (value) { return grouped(value * 100, 1).replace(/\.0$/, "") + " %"; },
    bytes: function (value) {
      var names = ["B", "kB", "MB", "GB", "TB", "PB"], i = 0;
      while (Math.abs(value) >= 999.95 && i < names.length - 1) { value /= 1000; i += 1; }
      return grouped(value, i ? 1 : 0) + " " + names[i];
    },
    duration: function (value) {
      if (value < 0.1) return Math.round(value * 1000) + UNITS.ms;
      if (value < 10) return String(Math.round(value * 100) / 100) + UNITS.s;
      var left = Math.round(value), parts = [], started = 0;
      [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].forEach(function (unit) {
        var count = Math.floor(left / unit[1]);
        left -= count * unit[1];
        if (count || started) { started += 1; if (count && started <= 2) parts.push(count + UNITS[unit[0]]); }
      });
      return parts.join(" ");
    }
  };
  function show(element, value) {
    var text = value === null || value === undefined ? NONE : String(value);
    var format = FORMATS[element.dataset.format];
    if (format && typeof value === "number" && isFinite(value)) text = format(value);
    if (element.textContent !== text) element.textContent = text;
  }

  /* ---- the live stream of a job ---- */
  var OVER = ["succeeded", "failed", "cancelled"];
  var LEVELS = { WARN: "held", WARNING: "held", ERROR: "failed", CRITICAL: "failed", DEBUG: "debug" };
  var KEEP = 5000; /* lines in the page; older ones are a download or a search away */

  function bindAll(scope, name, values) {
    all("[data-bind]", scope).forEach(function (element) {
      var key = element.dataset.bind;
      if (key.indexOf(name + ".") === 0 && key.slice(name.length + 1) in values) show(element, values[key.slice(name.length + 1)]);
    });
  }

  function Log(list, scope) {
    this.list = list;
    this.scope = scope;
    this.last = 0;
    this.paused = false;
    this.held = [];
    var end = list.lastElementChild;
    if (end) this.last = Number(end.id.slice(1)) || 0;
  }
  Log.prototype.line = function (number, row) {
    var level = String(row[1] || "").toUpperCase();
    var item = document.createElement("li");
    item.id = "L" + number;
    if (LEVELS[level]) item.className = LEVELS[level];
    var anchor = document.createElement("a");
    anchor.href = "#L" + number;
    anchor.textContent = number;
    item.appendChild(anchor);
    var moment = new Date(row[0]);
    if (!isNaN(moment)) {
      var time = document.createElement("time");
      time.dateTime = row[0];
      time.textContent = sayTime(moment, true);
      item.appendChild(time);
    }
    var span = document.createElement("span");
    if (LEVELS[level] && level !== "DEBUG") {
      var mark = document.createElement("b");
      mark.textContent = level;
      span.append(mark, " ");
    }
    span.append(String(row[2]));
    item.appendChild(span);
    return item;
  };
  Log.prototype.add = function (data) {
    if (this.paused) { this.held.push(data); this.count(data.first + data.lines.length - 1); return; }
    var list = this.list, fresh = document.createDocumentFragment(), self = this;
    /* follow only a reader who stands at the end; anyone reading above stays where they are */
    var follows = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    data.lines.forEach(function (row, place) {
      var number = data.first + place;
      if (number <= self.last) return; /* a resumed stream may repeat itself */
      self.last = number;
      fresh.appendChild(self.line(number, row));
    });
    list.appendChild(fresh);
    if (follows) {
      while (list.childElementCount > KEEP) list.firstElementChild.remove();
      list.scrollTop = list.scrollHeight;
    }
    this.count(this.last);
  };
  Log.prototype.count = function (number) { bindAll(this.scope, "log", { count: number }); };
  Log.prototype.pause = function (button) {
    this.paused = !this.paused;
    button.setAttribute("aria-pressed", String(this.paused));
    one("span", button).textContent = this.paused ? button.dataset.on : button.dataset.off;
    var use = one("use", button);
    if (use) use.setAttribute("href", body.dataset.sprite + (this.paused ? "#i-play" : "#i-pause"));
    if (!this.paused) this.held.splice(0).forEach(this.add, this);
  };

  /* the page's own address gives the new parts; a part around a running stream waits for its end */
  function refreshParts(scope) {
    var parts = all("[data-part]").filter(function (part) { return !scope || !part.contains(scope); });
    if (!parts.length) { if (!scope) location.reload(); return; }
    fetch(location.href, { credentials: "same-origin", headers: { Accept: "text/html" } }).then(function (answer) {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.text();
    }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, "text/html");
      parts.forEach(function (part) {
        if (one("dialog[open]", part)) return; /* somebody is answering a question in it */
        var twin = one('[data-part="' + CSS.escape(part.dataset.part) + '"]', fresh);
        if (!twin) return;
        var kept = document.importNode(twin, true);
        part.replaceWith(kept);
        localTimes(kept);
        if (window.htmx) window.htmx.process(kept);
      });
    }).catch(function () { if (!scope) location.reload(); });
  }

  function live(scope) {
    if (scope.liveSource) return;
    var source = new EventSource(scope.dataset.live);
    var list = one("[data-log]", scope);
    var log = list ? new Log(list, scope) : null;
    var state = scope.dataset.state || "";
    var closed = false;
    var tries = scope.liveTries || 0;
    scope.liveSource = source;
    scope.liveLog = log;
    if (list && !location.hash) list.scrollTop = list.scrollHeight;
    function on(name, handle) {
      source.addEventListener(name, function (event) {
        var data;
        try { data = JSON.parse(event.data); } catch (error) { return; }
        handle(data);
      });
    }
    function finish() {
      if (closed) return;
      closed = true;
      source.close();
      refreshParts();
    }
    on("progress", function (data) {
      /* of a pipeline each step has a row of its own */
      var place = data.step ? one('[data-step="' + CSS.escape(data.step) + '"]', scope) : scope;
      if (!place) return;
      if (data.total) data.share = data.done / data.total;
      bindAll(place, "progress", data);
      all('progress[data-bind="progress"]', place).forEach(function (meter) {
        if (!data.total) { meter.removeAttribute("value"); return; }
        meter.max = data.total;
        meter.value = data.done;
      });
    });
    on("metric", function (data) {
      var values = {};
      if ("name" in data && "value" in data) values[data.name] = data.value; else values = data;
      bindAll(scope, "metric", values);
    });
    on("log", function (data) { if (log && Array.isArray(data.lines)) log.add(data); });
    on("state", function (data) {
      if (!data.state || data.state === state) return;
      state = data.state;
      scope.dataset.state = state;
      bindAll(scope, "state", data);
      if (OVER.indexOf(state) < 0) refreshParts(scope);
    });
    on("changed", function () { refreshParts(scope); });
    on("end", finish);
    /* after a close the browser comes back by itself with Last-Event-ID; after an error status it does not, so we do */
    source.addEventListener("error", function () {
      if (closed || source.readyState !== EventSource.CLOSED) return;
      if (OVER.indexOf(state) >= 0) { finish(); return; }
      tries = Math.min(tries + 1, 6);
      scope.liveTries = tries;
      scope.liveSource = null;
      setTimeout(function () { if (scope.isConnected) live(scope); }, tries * 5000);
    });
    source.addEventListener("open", function () { tries = scope.liveTries = 0; });
  }

  /* ---- lists by keyboard ---- */
  function rows() { return all("table[data-list] tbody tr").filter(function (row) { return one("a[href]", row); }); }
  function step(by) {
    var list = rows();
    if (!list.length) return;
    var now = list.findIndex(function (row) { return row.contains(document.activeElement); });
    var next = list[Math.min(list.length - 1, Math.max(0, now < 0 ? 0 : now + by))];
    one("th a[href], a[href]", next).focus();
    next.scrollIntoView({ block: "nearest" });
  }
  function pick() {
    var row = document.activeElement && document.activeElement.closest("table[data-list] tbody tr");
    var box = row && one('input[type="checkbox"]:not(:disabled)', row);
    if (box) box.click();
  }
  function countPicked(table) {
    var picked = all('tbody input[type="checkbox"]:checked', table);
    all("tbody tr", table).forEach(function (row) {
      var box = one('input[type="checkbox"]', row);
      if (box) row.setAttribute("aria-selected", String(box.checked));
    });
    var tray = one("[data-tray]");
    if (!tray) return;
    tray.hidden = picked.length === 0;
    all("[data-picked]", tray).forEach(function (place) { place.textContent = picked.length; });
  }

  function typing(target) {
    return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !/^(checkbox|radio|button|submit)$/.test(target.type);
  }
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") {
      all("details.menu[open]").forEach(function (menu) { menu.open = false; one("summary", menu).focus(); });
      if (typing(event.target) && event.target.type === "search") event.target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target) || one("dialog[open]")) return;
    var field;
    if (event.key === "/") { field = one('.find input, .bar input[type="search"]'); if (field) { field.focus(); field.select(); } }
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "x") pick();
    else if (event.key === "?") openDialog("keys");
    else return;
    event.preventDefault();
  });

  document.addEventListener("click", function (event) {
    var target = event.target;
    if (!(target instanceof Element)) return;
    all("details.menu[open]").forEach(function (menu) { if (!menu.contains(target)) menu.open = false; });
    var hit;
    if ((hit = target.closest("[data-copy]"))) copyFrom(hit);
    else if (target.closest("[data-theme-next]")) nextTheme();
    else if ((hit = target.closest("[data-dialog]"))) {
      event.preventDefault();
      var menu = hit.closest("details.menu");
      if (menu) menu.open = false;
      openDialog(hit.dataset.dialog);
    } else if ((hit = target.closest("[data-close]"))) {
      event.preventDefault();
      hit.closest("dialog").close();
    } else if ((hit = target.closest("[data-dismiss]"))) hit.closest(".note").remove();
    else if ((hit = target.closest("[data-log-pause]"))) {
      var scope = hit.closest("[data-live]");
      if (scope && scope.liveLog) scope.liveLog.pause(hit);
    } else if (target.matches("dialog.dlg[open]")) target.close(); /* the ground around the card */
  });

  document.addEventListener("change", function (event) {
    var target = event.target;
    var table = target.closest("table[data-list]");
    if (table && target.type === "checkbox") {
      if (target.matches("[data-pick-all]")) all('tbody input[type="checkbox"]:not(:disabled)', table).forEach(function (box) { box.checked = target.checked; });
      countPicked(table);
    }
    var form = target.closest("form[data-autosubmit]");
    if (form && target.matches("select, input[type=date], input[type=checkbox]")) form.requestSubmit();
  });
  /* an empty filter has no place in an address that people pass on */
  document.addEventListener("submit", function (event) {
    var form = event.target, method = (form.getAttribute("method") || "get").toLowerCase();
    if (method !== "get") {
      /* a second press of a button must not send the form twice */
      if (form.dataset.sent) { event.preventDefault(); return; }
      if (method === "post" && !form.hasAttribute("hx-post")) {
        form.dataset.sent = "1";
        setTimeout(function () { delete form.dataset.sent; }, 4000);
      }
      return;
    }
    all("input[name], select[name]", form).forEach(function (field) { if (field.value === "") field.disabled = true; });
  });
  window.addEventListener("pageshow", function () {
    all("form[data-sent]").forEach(function (form) { delete form.dataset.sent; });
    all("form[method=get] :disabled").forEach(function (field) { if (field.value === "") field.disabled = false; });
  });
  window.addEventListener("pagehide", function () {
    all("[data-live]").forEach(function (scope) { if (scope.liveSource) { scope.liveSource.close(); scope.liveSource = null; } });
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) all("[data-live]").forEach(live);
  });
  /* a part that renews itself keeps open what the reader has opened in it */
  var opened = [];
  document.addEventListener("htmx:beforeSwap", function (event) {
    opened = all("details[id][open]", event.detail.target).map(function (element) { return element.id; });
  });
  document.addEventListener("htmx:afterSettle", function () {
    opened.splice(0).forEach(function (id) { var element = document.getElementById(id); if (element) element.open = true; });
    localTimes();
    all("[data-live]").forEach(live);
    /* a field's error was checked on leaving it: say so to readers too */
    all(".field > .err[id]").forEach(function (error) {
      var control = document.getElementById(error.id.slice(0, -2));
      if (!control) return;
      if (error.hidden) control.removeAttribute("aria-invalid"); else control.setAttribute("aria-invalid", "true");
      error.parentElement.classList.toggle("bad", !error.hidden);
    });
  });

  nameTheme();
  localTimes();
  all("table[data-list]").forEach(countPicked);
  all("[data-live]").forEach(live);
  all("dialog[data-open]").forEach(function (dialog) { openDialog(dialog.id); }); /* its answer was refused */
})();

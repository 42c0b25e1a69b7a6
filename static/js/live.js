/* What changes while a page is open: a job's or a pipeline's stream (Server-Sent Events), and parts asked for again. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all, make = plane.make, show = plane.show, sayTime = plane.sayTime, localTimes = plane.localTimes, body = document.body;

  /* ---- the live stream of a job ---- */
  var OVER = ["succeeded", "failed", "cancelled"];
  var LEVELS = { WARN: "held", WARNING: "held", ERROR: "failed", CRITICAL: "failed", DEBUG: "debug" };
  var KEEP = 5000; /* lines in the page; older ones are a download or a search away */
  var MOST = 2 * KEEP; /* while somebody reads above, or has paused it: a page may stay open for days */

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
    this.waiting = 0; /* lines of these */
    var end = list.lastElementChild;
    if (end) this.last = Number(end.id.slice(1)) || 0;
  }
  Log.prototype.line = function (number, row) {
    var level = String(row[1] || "").toUpperCase();
    var item = make("li", { id: "L" + number }), span = make("span"), moment = new Date(row[0]);
    if (LEVELS[level]) item.className = LEVELS[level];
    var href = (this.list.dataset.linked ? this.list.dataset.linked + "?line=" + number : "") + "#L" + number;
    item.append(make("a", { href: href, textContent: number }));
    if (!isNaN(moment)) item.append(make("time", { dateTime: row[0], textContent: sayTime(moment, true) }));
    if (LEVELS[level] && level !== "DEBUG") span.append(make("b", { textContent: level }), " ");
    span.append(String(row[2]));
    item.appendChild(span);
    return item;
  };
  Log.prototype.add = function (data) {
    if (this.paused) this.hold(data); else this.take([data]);
  };
  Log.prototype.take = function (batches) {
    var list = this.list, fresh = document.createDocumentFragment(), self = this;
    /* follow only a reader who stands at the end; anyone reading above stays where they are */
    var follows = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    batches.forEach(function (data) {
      data.lines.forEach(function (row, place) {
        var number = data.first + place;
        if (number <= self.last) return; /* a resumed stream may repeat itself */
        self.last = number;
        fresh.appendChild(self.line(number, row));
      });
    });
    list.appendChild(fresh);
    while (list.childElementCount > (follows ? KEEP : MOST)) list.firstElementChild.remove();
    if (follows) list.scrollTop = list.scrollHeight;
    this.count(this.last);
  };
  Log.prototype.hold = function (data) {
    this.held.push(data);
    this.waiting += data.lines.length;
    while (this.waiting - this.held[0].lines.length > MOST) this.waiting -= this.held.shift().lines.length;
    this.count(data.first + data.lines.length - 1);
  };
  Log.prototype.count = function (number) { bindAll(this.scope, "log", { count: number }); };
  Log.prototype.pause = function (button) {
    this.paused = !this.paused;
    button.setAttribute("aria-pressed", String(this.paused));
    one("span", button).textContent = this.paused ? button.dataset.on : button.dataset.off;
    var use = one("use", button);
    if (use) use.setAttribute("href", body.dataset.sprite + (this.paused ? "#i-play" : "#i-pause"));
    if (!this.paused) { this.waiting = 0; this.take(this.held.splice(0)); }
  };

  /* ---- parts: the page's own address gives the new ones; only those that differ are put in place ---- */
  function bare(part) { return part.outerHTML.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, ""); }
  function busy(part) {
    var here = document.activeElement;
    return one("dialog[open]", part) || here && part.contains(here) && plane.typing(here); /* somebody answers a question in it */
  }
  function takeParts(text, scope) {
    var fresh = plane.parsed(text);
    if (!plane.sameBuild(fresh)) return;
    all("[data-part]").forEach(function (part) {
      if (!part.isConnected || scope && part.contains(scope) || busy(part)) return;
      var twin = one('[data-part="' + CSS.escape(part.dataset.part) + '"]', fresh);
      if (!twin) return;
      var kept = document.importNode(twin, true);
      localTimes(kept);
      if (bare(kept) === bare(part)) return;
      all("[data-live]", part).concat(part.matches("[data-live]") ? [part] : []).forEach(close);
      plane.keep(part);
      part.replaceWith(kept);
      plane.restore(kept);
      if (window.htmx) window.htmx.process(kept);
    });
    connect();
  }
  /* a part around a running stream waits for its end */
  function quietly(scope) {
    if (!one("[data-part]")) { if (!scope) location.reload(); return Promise.resolve(); }
    return plane.ask(location.href).then(function (answer) { return answer.text(); }).then(function (text) { takeParts(text, scope); }).catch(plane.failed);
  }

  /* ---- asking again, where no stream is worth its thread: home ---- */
  function poll(place) {
    var tries = 0, timer = 0, asking = false;
    function later() {
      var clock = one("[data-every]", place), every = clock ? Number(clock.dataset.every) : 15;
      clearTimeout(timer);
      if (place.isConnected && !document.hidden && !plane.signedOut) timer = setTimeout(again, Math.min(60, every * Math.pow(2, tries)) * 1000);
    }
    function again() {
      var clock = one("[data-mark]", place);
      if (asking || document.hidden || !place.isConnected) return;
      asking = true;
      plane.ask(place.dataset.poll + location.search, clock ? { "If-None-Match": clock.dataset.mark } : {}).then(function (answer) {
        tries = 0;
        return answer.status === 304 ? null : answer.text().then(takeParts);
      }).catch(function (failure) { plane.failed(failure); tries = Math.min(tries + 1, 5); }).then(function () { asking = false; later(); });
    }
    document.addEventListener("visibilitychange", function () { if (document.hidden) clearTimeout(timer); else if (!plane.away) later(); });
    document.addEventListener("plane:back", function () { tries = 0; again(); });
    later();
  }

  /* ---- streams ---- */
  function addressOf(scope) {
    if (!scope.liveId) return scope.dataset.live;
    var url = new URL(scope.dataset.live, location.href);
    ["after", "seen"].forEach(function (name) { if (url.searchParams.has(name)) url.searchParams.set(name, scope.liveId); });
    return url.href;
  }
  function close(scope) {
    clearTimeout(scope.liveTimer);
    if (scope.liveSource) scope.liveSource.close();
    scope.liveSource = null;
  }
  /* the browser says nothing of why a stream was refused: ask for its head once, and act on that */
  function refused(scope) {
    var stop = new AbortController();
    plane.ask(scope.dataset.live, { Accept: "text/event-stream" }, stop.signal).then(function () {
      stop.abort(); /* there is room again */
      retry(scope, 1000);
    }, function (failure) {
      if (failure.status === 503) pause(scope);
      else if (plane.failed(failure)) retry(scope);
      else if (failure.why === "refused") quietly(scope);
    });
  }
  function retry(scope, wait) {
    scope.liveTries = Math.min((scope.liveTries || 0) + 1, 6);
    clearTimeout(scope.liveTimer);
    scope.liveTimer = setTimeout(function () { if (scope.isConnected && !plane.away) live(scope); }, wait || scope.liveTries * 5000);
  }
  /* every seat for streams is taken: the page looks now and then, and tries for a seat each time */
  function pause(scope) {
    plane.say("paused", body.dataset.paused);
    quietly();
    retry(scope, 20000);
  }

  function live(scope) {
    if (scope.liveSource || plane.away || plane.signedOut) return;
    var source = new EventSource(addressOf(scope));
    var list = one("[data-log]", scope);
    var log = scope.liveLog || (list ? new Log(list, scope) : null);
    var state = scope.dataset.state || "";
    scope.liveSource = source;
    if (list && !location.hash && !scope.liveLog) list.scrollTop = list.scrollHeight;
    scope.liveLog = log;
    function on(name, handle) {
      source.addEventListener(name, function (event) {
        var data;
        if (event.lastEventId) scope.liveId = event.lastEventId;
        try { data = JSON.parse(event.data); } catch (error) { return; }
        handle(data);
      });
    }
    function finish() {
      if (scope.liveSource !== source) return;
      close(scope);
      scope.dataset.ended = "1";
      quietly();
    }
    on("progress", function (data) {
      /* of a pipeline each step has places of its own: a row, and a box of the graph */
      var places = data.step ? all('[data-step="' + CSS.escape(data.step) + '"]', scope) : [scope];
      if (data.total) data.share = data.done / data.total;
      var said = one("[data-words]", scope), words = said ? JSON.parse(said.dataset.words) : {};
      Object.keys(words).forEach(function (key) { if (words[key][data[key]]) data[key] = words[key][data[key]]; });
      places.forEach(function (place) {
        bindAll(place, "progress", data);
        all('progress[data-bind="progress"]', place).forEach(function (meter) {
          if (!data.total) { meter.removeAttribute("value"); return; }
          meter.max = data.total;
          meter.value = data.done;
        });
        all("rect[data-meter]", place).forEach(function (bar) { bar.setAttribute("width", (data.share || 0) * 100 + "%"); });
      });
    });
    on("metric", function (data) {
      var values = {};
      if ("name" in data && "value" in data) values[data.name] = data.value; else values = data;
      bindAll(scope, "metric", values);
      document.dispatchEvent(new CustomEvent("plane:metric", { detail: values })); /* charts.js draws it */
    });
    on("log", function (data) { if (log && Array.isArray(data.lines)) log.add(data); });
    on("state", function (data) {
      if (!data.state || data.state === state) return;
      state = data.state;
      scope.dataset.state = state;
      bindAll(scope, "state", data);
      if (OVER.indexOf(state) < 0) quietly(scope);
    });
    on("changed", function () { quietly(scope); });
    on("end", finish);
    /* a stream that ended is opened again by the browser, with Last-Event-ID; one that was refused is not */
    source.addEventListener("error", function () {
      if (scope.liveSource !== source) return;
      if (source.readyState !== EventSource.CLOSED) {
        scope.liveTries = (scope.liveTries || 0) + 1;
        if (scope.liveTries > 2) plane.say("offline", body.dataset.offline);
        return;
      }
      close(scope);
      if (OVER.indexOf(state) >= 0) { scope.dataset.ended = "1"; quietly(); } else refused(scope);
    });
    source.addEventListener("open", function () {
      scope.liveTries = 0;
      plane.unsay("paused");
      plane.reached();
    });
  }
  function connect() { all("[data-live]:not([data-ended])").forEach(live); }

  document.addEventListener("click", function (event) {
    var button = plane.hit(event, "[data-log-pause]");
    var scope = button && button.closest("[data-live]");
    if (scope && scope.liveLog) scope.liveLog.pause(button);
  });
  document.addEventListener("plane:away", function () { all("[data-live]").forEach(close); });
  /* what has happened meanwhile first, then the streams from where they were left */
  document.addEventListener("plane:back", function () {
    if (one("[data-poll]")) return; /* asks by itself */
    if (!one("[data-live]") && !one("[data-part]")) return;
    (one("[data-part]") ? quietly() : Promise.resolve()).then(connect);
  });
  document.addEventListener("htmx:afterSettle", connect);
  connect();
  all("[data-poll]").forEach(poll);
})();

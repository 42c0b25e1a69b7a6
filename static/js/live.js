/* What changes while a page is open: a job's or a pipeline's stream (Server-Sent Events), and parts asked for again. */
import {
  closestTarget,
  createElement,
  formatTime,
  isTyping,
  keepState,
  localizeTimes,
  parseHtml,
  query,
  queryAll,
  restoreState,
  showValue,
} from "./plane.js";
import {
  clearMessage,
  fetchPart,
  handleFailure,
  isSameBuild,
  markReachable,
  session,
  showMessage,
} from "./presence.js";

const body = document.body;

/* ---- the live stream of a job ---- */
const OVER = ["succeeded", "failed", "cancelled"];
const LEVELS = { WARN: "held", WARNING: "held", ERROR: "failed", CRITICAL: "failed", DEBUG: "debug" };
const KEEP = 5000; /* lines in the page; older ones are a download or a search away */
const MOST = 2 * KEEP; /* while somebody reads above, or has paused it: a page may stay open for days */

function bindAll(scope, name, values) {
  queryAll("[data-bind]", scope).forEach((element) => {
    const key = element.dataset.bind;
    if (key.indexOf(`${name}.`) === 0 && key.slice(name.length + 1) in values)
      showValue(element, values[key.slice(name.length + 1)]);
  });
}

class Log {
  constructor(list, scope) {
    this.list = list;
    this.scope = scope;
    this.last = Number(list.lastElementChild?.id.slice(1)) || 0;
    this.paused = false;
    this.held = [];
    this.waiting = 0; /* lines of these */
  }

  line(number, row) {
    const level = String(row[1] || "").toUpperCase();
    const item = createElement("li", { id: `L${number}` }),
      span = createElement("span"),
      moment = new Date(row[0]);
    if (LEVELS[level]) item.className = LEVELS[level];
    const href = `${this.list.dataset.linked ? `${this.list.dataset.linked}?line=${number}` : ""}#L${number}`;
    item.append(createElement("a", { href, textContent: number }));
    if (!isNaN(moment)) item.append(createElement("time", { dateTime: row[0], textContent: formatTime(moment, true) }));
    if (LEVELS[level] && level !== "DEBUG") span.append(createElement("b", { textContent: level }), " ");
    span.append(String(row[2]));
    item.appendChild(span);
    return item;
  }

  add(data) {
    if (this.paused) this.hold(data);
    else this.take([data]);
  }

  take(batches) {
    const list = this.list,
      fresh = document.createDocumentFragment(),
      self = this;
    /* follow only a reader who stands at the end; anyone reading above stays where they are */
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
    batches.forEach((data) => {
      data.lines.forEach((row, place) => {
        const number = data.first + place;
        if (number <= self.last) return; /* a resumed stream may repeat itself */
        self.last = number;
        fresh.appendChild(self.line(number, row));
      });
    });
    list.appendChild(fresh);
    while (list.childElementCount > (follows ? KEEP : MOST)) list.firstElementChild.remove();
    if (follows) list.scrollTop = list.scrollHeight;
    this.count(this.last);
  }

  hold(data) {
    this.held.push(data);
    this.waiting += data.lines.length;
    while (this.waiting - this.held[0].lines.length > MOST) this.waiting -= this.held.shift().lines.length;
    this.count(data.first + data.lines.length - 1);
  }

  count(number) {
    bindAll(this.scope, "log", { count: number });
  }

  pause(button) {
    this.paused = !this.paused;
    button.setAttribute("aria-pressed", String(this.paused));
    query("span", button).textContent = this.paused ? button.dataset.on : button.dataset.off;
    query("use", button)?.setAttribute("href", body.dataset.sprite + (this.paused ? "#i-play" : "#i-pause"));
    if (!this.paused) {
      this.waiting = 0;
      this.take(this.held.splice(0));
    }
  }
}

/* ---- parts: the page's own address gives the new ones; only those that differ are put in place ---- */
function bare(part) {
  return part.outerHTML.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
}
function busy(part) {
  const here = document.activeElement;
  return part.matches(":active") || query("dialog[open]", part) || (part.contains(here) && isTyping(here));
}
let late = 0,
  failed = 0;
function askLater(wait) {
  clearTimeout(late);
  late = setTimeout(catchUp, wait);
}
/* a part in which somebody pressed or answered something is renewed afterwards */
function catchUp() {
  if (session.away || queryAll("[data-part]").some(busy)) askLater(500);
  else quietly(query("[data-live]:not([data-ended])"));
}
function takeParts(text, scope) {
  const fresh = parseHtml(text);
  if (!isSameBuild(fresh)) return;
  queryAll("[data-part]").forEach((part) => {
    if (!part.isConnected || (scope && part.contains(scope))) return;
    const twin = query(`[data-part="${CSS.escape(part.dataset.part)}"]`, fresh);
    if (!twin) return;
    const kept = document.importNode(twin, true);
    localizeTimes(kept);
    if (bare(kept) === bare(part)) return;
    if (busy(part)) {
      askLater(500);
      return;
    }
    queryAll("[data-live]", part)
      .concat(part.matches("[data-live]") ? [part] : [])
      .forEach(close);
    keepState(part);
    part.replaceWith(kept);
    restoreState(kept);
    window.htmx?.process(kept);
  });
  document.dispatchEvent(new CustomEvent("htmx:afterSettle", { detail: {} })); /* connect, and other scripts */
}
let asked = 0,
  taken = 0;
/* a part around a running stream waits for its end */
function quietly(scope) {
  if (!query("[data-part]")) {
    if (!scope) location.reload();
    return Promise.resolve();
  }
  const mine = (asked += 1);
  return fetchPart(location.href)
    .then((answer) => answer.text())
    .then((text) => {
      if (mine < taken) return; /* a late one */
      taken = mine;
      failed = 0;
      takeParts(text, scope);
    })
    .catch((failure) => {
      if (mine === asked && handleFailure(failure)) askLater(Math.min(60, 5 * 2 ** failed++) * 1000);
    });
}

/* ---- asking again, where no stream is worth its thread: home ---- */
function poll(place) {
  let tries = 0,
    timer = 0,
    asking = false;
  function later() {
    const clock = query("[data-every]", place),
      every = clock ? Number(clock.dataset.every) : 15;
    clearTimeout(timer);
    if (place.isConnected && !document.hidden && !session.signedOut)
      timer = setTimeout(again, Math.min(60, every * 2 ** tries) * 1000);
  }
  function again() {
    const clock = query("[data-mark]", place);
    if (asking || document.hidden || !place.isConnected) return;
    asking = true;
    fetchPart(place.dataset.poll + location.search, clock ? { "If-None-Match": clock.dataset.mark } : {})
      .then((answer) => {
        tries = 0;
        return answer.status === 304 ? null : answer.text().then(takeParts);
      })
      .catch((failure) => {
        handleFailure(failure);
        tries = Math.min(tries + 1, 5);
      })
      .then(() => {
        asking = false;
        later();
      });
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else if (!session.away) later();
  });
  document.addEventListener("plane:back", () => {
    tries = 0;
    again();
  });
  later();
}

/* ---- streams ---- */
function addressOf(scope) {
  if (!scope.liveId) return scope.dataset.live;
  const url = new URL(scope.dataset.live, location.href);
  ["after", "seen"].forEach((name) => {
    if (url.searchParams.has(name)) url.searchParams.set(name, scope.liveId);
  });
  return url.href;
}
function close(scope) {
  clearTimeout(scope.liveTimer);
  scope.liveSource?.close();
  scope.liveSource = null;
}
/* the browser says nothing of why a stream was refused: ask for its head once, and act on that */
function refused(scope) {
  const stop = new AbortController();
  fetchPart(scope.dataset.live, { Accept: "text/event-stream" }, stop.signal).then(
    () => {
      stop.abort(); /* there is room again */
      retry(scope, 1000);
    },
    (failure) => {
      if (failure.status === 503) pause(scope);
      else if (handleFailure(failure)) retry(scope);
      else if (failure.why === "refused") quietly(scope);
    },
  );
}
function retry(scope, wait) {
  scope.liveTries = Math.min((scope.liveTries || 0) + 1, 6);
  clearTimeout(scope.liveTimer);
  scope.liveTimer = setTimeout(
    () => {
      if (scope.isConnected && !session.away) live(scope);
    },
    wait || scope.liveTries * 5000,
  );
}
/* every seat for streams is taken: the page looks now and then, and tries for a seat each time */
function pause(scope) {
  showMessage("paused", body.dataset.paused);
  quietly();
  retry(scope, 20000);
}

function live(scope) {
  if (scope.liveSource || session.away || session.signedOut) return;
  const source = new EventSource(addressOf(scope));
  const list = query("[data-log]", scope);
  const log = scope.liveLog || (list ? new Log(list, scope) : null);
  let state = scope.dataset.state || "";
  scope.liveSource = source;
  if (list && !location.hash && !scope.liveLog) list.scrollTop = list.scrollHeight;
  scope.liveLog = log;
  function on(name, handle) {
    source.addEventListener(name, (event) => {
      let data;
      if (event.lastEventId) scope.liveId = event.lastEventId;
      try {
        data = JSON.parse(event.data);
      } catch {
        return;
      }
      handle(data);
    });
  }
  function finish() {
    if (scope.liveSource !== source) return;
    close(scope);
    scope.dataset.ended = "1";
    quietly();
  }
  on("progress", (data) => {
    /* of a pipeline each step has places of its own: a row, and a box of the graph */
    const places = data.step ? queryAll(`[data-step="${CSS.escape(data.step)}"]`, scope) : [scope];
    if (data.total) data.share = data.done / data.total;
    const said = query("[data-words]", scope),
      words = said ? JSON.parse(said.dataset.words) : {};
    Object.keys(words).forEach((key) => {
      if (words[key][data[key]]) data[key] = words[key][data[key]];
    });
    Object.entries(data.partitions || {}).forEach(([key, value]) => {
      data[`partitions.${key}`] = Array.isArray(value) ? value.join(", ") || "–" : value;
    });
    places.forEach((place) => {
      bindAll(place, "progress", data);
      /* of a job that was in line when the page was opened: its stream lies around the card, which is not replaced */
      queryAll("[data-progress]", place).forEach((card) => {
        card.hidden = false;
      });
      queryAll("[data-partitions]", place).forEach((list) => {
        list.hidden = !data.partitions;
      });
      queryAll('progress[data-bind="progress"]', place).forEach((meter) => {
        if (!data.total) {
          meter.removeAttribute("value");
          return;
        }
        meter.max = data.total;
        meter.value = data.done;
      });
      queryAll("rect[data-meter]", place).forEach((bar) => {
        bar.setAttribute("width", `${(data.share || 0) * 100}%`);
      });
    });
  });
  on("metric", (data) => {
    const values = "name" in data && "value" in data ? { [data.name]: data.value } : data;
    bindAll(scope, "metric", values);
    document.dispatchEvent(new CustomEvent("plane:metric", { detail: values })); /* charts.js draws it */
  });
  on("log", (data) => {
    if (log && Array.isArray(data.lines)) log.add(data);
  });
  on("state", (data) => {
    if (!data.state || data.state === state) return;
    state = data.state;
    scope.dataset.state = state;
    bindAll(scope, "state", data);
    if (!OVER.includes(state)) quietly(scope);
  });
  on("changed", () => {
    quietly(scope);
  });
  on("end", finish);
  /* a stream that ended is opened again by the browser, with Last-Event-ID; one that was refused is not */
  source.addEventListener("error", () => {
    if (scope.liveSource !== source) return;
    if (source.readyState !== EventSource.CLOSED) {
      scope.liveTries = (scope.liveTries || 0) + 1;
      if (scope.liveTries > 2) showMessage("offline", body.dataset.offline);
      return;
    }
    close(scope);
    if (OVER.includes(state)) {
      scope.dataset.ended = "1";
      quietly();
    } else refused(scope);
  });
  source.addEventListener("open", () => {
    scope.liveTries = 0;
    clearMessage("paused");
    markReachable();
  });
}
function connect() {
  queryAll("[data-live]:not([data-ended])").forEach(live);
}

document.addEventListener("click", (event) => {
  const button = closestTarget(event, "[data-log-pause]");
  const scope = button?.closest("[data-live]");
  if (scope?.liveLog) scope.liveLog.pause(button);
});
document.addEventListener("plane:away", () => {
  queryAll("[data-live]").forEach(close);
});
/* what has happened meanwhile first, then the streams from where they were left */
document.addEventListener("plane:back", () => {
  if (query("[data-poll]")) return; /* asks by itself */
  if (!query("[data-live]") && !query("[data-part]")) return;
  (query("[data-part]") ? quietly() : Promise.resolve()).then(connect);
});
document.addEventListener("htmx:afterSettle", connect);
/* a part that would load the page anew waits and asks again */
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.getResponseHeader("HX-Refresh") && busy(body)) event.preventDefault();
});
connect();
queryAll("[data-poll]").forEach(poll);

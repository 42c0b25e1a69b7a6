/* An open page and its server: asking again, what is said when that fails, and rest while nobody looks.
   A hidden page asks for nothing; shown again it says "plane:back", and whoever shows something brings it up to date. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all, body = document.body;
  var REST_AFTER = 5000; /* ms out of sight: a glance at another tab ends no stream */
  var restTimer = 0;

  plane.away = false; /* nobody looks: no stream, no poll */
  plane.signedOut = false;

  function tell(name) { document.dispatchEvent(new CustomEvent("plane:" + name)); }

  /* ---- rest ---- */
  function rest() {
    restTimer = 0;
    if (plane.away) return;
    plane.away = true;
    document.documentElement.dataset.away = "";
    tell("away");
  }
  function wake() {
    clearTimeout(restTimer);
    restTimer = 0;
    if (!plane.away) return;
    plane.away = false;
    delete document.documentElement.dataset.away;
    tell("back");
  }
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) wake();
    else if (!restTimer) restTimer = setTimeout(rest, REST_AFTER);
  });
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", function (event) { if (event.persisted) wake(); });
  window.addEventListener("online", function () { if (!document.hidden) tell("back"); });

  /* ---- asking: the answer, or why there is none ---- */
  function Failure(why, status) { this.why = why; this.status = status || 0; }
  plane.ask = function (url, headers, signal) {
    var sent = Object.assign({ Accept: "text/html", "X-Plane-Poll": "1" }, headers);
    return fetch(url, { credentials: "same-origin", cache: "no-store", redirect: "manual", headers: sent, signal: signal }).then(function (answer) {
      if (answer.status === 401) throw new Failure("signed-out", 401);
      if (answer.type === "opaqueredirect") throw new Failure("refused");
      if (answer.status >= 500) throw new Failure("away", answer.status);
      if (!answer.ok && answer.status !== 304) throw new Failure("refused", answer.status);
      plane.reached();
      return answer;
    }, function () { throw new Failure("offline"); });
  };
  plane.reached = function () {
    plane.unsay("offline");
    if (plane.signedOut) { plane.signedOut = false; plane.unsay("signed-out"); }
  };
  /* what a failed question means for the page; true: it is worth asking again later */
  plane.failed = function (failure) {
    if (failure.why === "signed-out") {
      plane.signedOut = true;
      var back = location.pathname + location.search + location.hash;
      plane.say("signed-out", body.dataset.signedOut, body.dataset.signIn, body.dataset.login + "?next=" + encodeURIComponent(back));
      return false;
    }
    if (failure.why === "refused") return false;
    plane.say("offline", body.dataset.offline);
    return true;
  };

  /* ---- what stays said until it is over ---- */
  var said = {}, ORDER = ["signed-out", "offline", "renewed", "paused"];
  plane.say = function (key, text, link, url) {
    if (said[key] && said[key].text === text) return;
    said[key] = { text: text, link: link, url: url };
    plane.standing(current());
  };
  plane.unsay = function (key) {
    if (!said[key]) return;
    delete said[key];
    plane.standing(current());
  };
  function current() { return said[ORDER.find(function (key) { return said[key]; })]; }

  /* ---- a new version of the plane: the page and its scripts belong together ---- */
  plane.sameBuild = function (fresh) {
    var meta = one('meta[name="plane-build"]', fresh), mine = one('meta[name="plane-build"]');
    if (!meta || !mine || meta.content === mine.content) return true;
    if (all("main form[method=post]").some(edited)) plane.say("renewed", body.dataset.renewed, body.dataset.reload, location.href);
    else location.reload();
    return false;
  };
  function edited(form) {
    return Array.from(form.elements).some(function (field) {
      if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
      return field.defaultValue !== undefined && field.type !== "hidden" && field.value !== field.defaultValue;
    });
  }

  /* ---- htmx: no answer is lost in silence ---- */
  function byItself(event) { var asked = event.detail.requestConfig; return !asked || !asked.triggeringEvent; }
  function words(xhr) {
    var type = xhr.getResponseHeader("Content-Type") || "";
    if (type.indexOf("json") >= 0) {
      try { var error = JSON.parse(xhr.responseText).error; return [error.message, error.hint].filter(Boolean).join(" "); } catch (none) { return ""; }
    }
    var page = plane.parsed(xhr.responseText);
    return all(".said h1, .said p", page).map(function (part) { return part.textContent.trim(); }).join(". ").replace("..", ".");
  }
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (byItself(event) && (document.hidden || plane.signedOut)) event.preventDefault();
  });
  document.addEventListener("htmx:afterOnLoad", function (event) { if (event.detail.xhr.status < 400) plane.reached(); });
  document.addEventListener("htmx:responseError", function (event) {
    var xhr = event.detail.xhr;
    if (xhr.status === 401) { plane.failed(new Failure("signed-out")); return; }
    if (byItself(event)) { if (xhr.status >= 500) plane.failed(new Failure("away")); return; }
    var text = words(xhr) || body.dataset.failed;
    var id = xhr.status >= 500 && xhr.getResponseHeader("X-Request-ID");
    plane.toast(id ? text + " (" + body.dataset.request + " " + id + ")" : text, { failed: true });
  });
  document.addEventListener("htmx:sendError", function (event) {
    if (byItself(event)) plane.failed(new Failure("offline")); else plane.toast(body.dataset.offline, { failed: true });
  });
  document.addEventListener("htmx:timeout", function () { plane.failed(new Failure("offline")); });
})();

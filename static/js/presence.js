/* An open page and its server: asking again, what is said when that fails, and rest while nobody looks.
   A hidden page asks for nothing; shown again it says "plane:back", and whoever shows something brings it up to date. */
import { parseHtml, query, queryAll, showStandingMessage, showToast } from "./plane.js";

const body = document.body;
const REST_AFTER = 5000; /* ms out of sight: a glance at another tab ends no stream */
let restTimer = 0;

export const session = { away: false, signedOut: false }; /* away: nobody looks: no stream, no poll */

function tell(name) {
  document.dispatchEvent(new CustomEvent(`plane:${name}`));
}

/* ---- rest ---- */
function rest() {
  clearTimeout(restTimer);
  restTimer = 0;
  if (session.away) return;
  session.away = true;
  document.documentElement.dataset.away = "";
  tell("away");
}
function wake() {
  clearTimeout(restTimer);
  restTimer = 0;
  if (!session.away) return;
  session.away = false;
  delete document.documentElement.dataset.away;
  tell("back");
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) wake();
  else if (!restTimer) restTimer = setTimeout(rest, REST_AFTER);
});
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) wake();
});
window.addEventListener("online", () => {
  if (!document.hidden) tell("back");
});

/* ---- asking: the answer, or why there is none ---- */
function Failure(why, status) {
  this.why = why;
  this.status = status || 0;
}
export const fetchPart = (url, headers, signal) => {
  return fetch(url, {
    credentials: "same-origin",
    cache: "no-store",
    redirect: "manual",
    headers: { Accept: "text/html", "X-Plane-Poll": "1", ...headers },
    signal,
  }).then(
    (answer) => {
      if (answer.status === 401) throw new Failure("signed-out", 401);
      if (answer.type === "opaqueredirect") throw new Failure("refused");
      if (answer.status >= 500) throw new Failure("away", answer.status);
      if (!answer.ok && answer.status !== 304) throw new Failure("refused", answer.status);
      markReachable();
      return answer;
    },
    () => {
      throw new Failure("offline");
    },
  );
};
export const markReachable = () => {
  clearMessage("offline");
  if (session.signedOut) {
    session.signedOut = false;
    clearMessage("signed-out");
  }
};
/* what a failed question means for the page; true: it is worth asking again later */
export const handleFailure = (failure) => {
  if (failure.why === "signed-out") {
    session.signedOut = true;
    const back = location.pathname + location.search + location.hash;
    showMessage(
      "signed-out",
      body.dataset.signedOut,
      body.dataset.signIn,
      `${body.dataset.login}?next=${encodeURIComponent(back)}`,
    );
    return false;
  }
  if (failure.why === "refused") return false;
  showMessage("offline", body.dataset.offline);
  return true;
};

/* ---- what stays said until it is over ---- */
const said = {},
  ORDER = ["signed-out", "offline", "renewed", "paused"];
export const showMessage = (key, text, link, url) => {
  if (said[key]?.text === text) return;
  said[key] = { text, link, url };
  showStandingMessage(current());
};
export const clearMessage = (key) => {
  if (!said[key]) return;
  delete said[key];
  showStandingMessage(current());
};
function current() {
  return said[ORDER.find((key) => said[key])];
}

/* ---- a new version of the plane: the page and its scripts belong together ---- */
export const isSameBuild = (fresh) => {
  const meta = query('meta[name="plane-build"]', fresh),
    mine = query('meta[name="plane-build"]');
  if (!meta || !mine || meta.content === mine.content) return true;
  if (queryAll("main form[method=post]").some(isEdited))
    showMessage("renewed", body.dataset.renewed, body.dataset.reload, location.href);
  else location.reload();
  return false;
};
export function isEdited(form) {
  return Array.from(form.elements).some((field) => {
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    return field.defaultValue !== undefined && field.type !== "hidden" && field.value !== field.defaultValue;
  });
}

/* ---- htmx: no answer is lost in silence ---- */
function byItself(event) {
  const asked = event.detail.requestConfig;
  return !asked || !asked.triggeringEvent;
}
function words(xhr) {
  const type = xhr.getResponseHeader("Content-Type") || "";
  if (type.includes("json")) {
    try {
      const error = JSON.parse(xhr.responseText).error;
      return [error.message, error.hint].filter(Boolean).join(" ");
    } catch {
      return "";
    }
  }
  const page = parseHtml(xhr.responseText);
  return queryAll(".said h1, .said p", page)
    .map((part) => part.textContent.trim())
    .join(". ")
    .replace("..", ".");
}
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.matches('[hx-trigger^="every"]') && (document.hidden || session.signedOut))
    event.preventDefault();
});
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (event.detail.xhr.status < 400) markReachable();
});
document.addEventListener("htmx:responseError", (event) => {
  const xhr = event.detail.xhr;
  if (xhr.status === 401) {
    handleFailure(new Failure("signed-out"));
    return;
  }
  if (byItself(event)) {
    if (xhr.status >= 500) handleFailure(new Failure("away"));
    return;
  }
  const text = words(xhr) || body.dataset.failed;
  const id = xhr.status >= 500 && xhr.getResponseHeader("X-Request-ID");
  showToast(id ? `${text} (${body.dataset.request} ${id})` : text, { failed: true });
});
document.addEventListener("htmx:sendError", (event) => {
  if (byItself(event)) handleFailure(new Failure("offline"));
  else showToast(body.dataset.offline, { failed: true });
});
document.addEventListener("htmx:timeout", () => {
  handleFailure(new Failure("offline"));
});

/* Charts that the server has drawn: a reading cursor by pointer and keyboard, lines that are put away, a part looked at
   nearer, the drawing as PNG and its table as CSV; new points; and the graph of lineage, moved and enlarged.
   Nothing is drawn that the server does not draw too: without this script the numbers are in the table. */
import {
  FORMATS,
  clamp,
  closestTarget,
  createElement,
  formatTime,
  isTyping,
  keepOpen,
  localizeTimes,
  parseHtml,
  query,
  queryAll,
} from "./plane.js";
import { fetchPart, session } from "./presence.js";

const SVG = "http://www.w3.org/2000/svg";
const LINE = 16,
  SHOWN = 12; /* px of a line in a tip; lines in a tip */

export function drawSvg(name, attributes, into) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => {
    element.setAttribute(key, value);
  });
  into?.append(element);
  return element;
}
function numbers(text) {
  return (text || "")
    .split(" ")
    .filter(Boolean)
    .map((word) => (word === "-" ? NaN : Number(word)));
}
function wide(text) {
  return Array.from(text).reduce((sum, letter) => sum + (letter.charCodeAt(0) > 0x2e7f ? 13 : 6.5), 0);
}

/* ---- reading a chart of lines ---- */
class Reader {
  constructor(chart) {
    this.chart = chart;
    this.area = query(".area", chart);
    this.svg = query(".area > svg", chart);
    this.plot = query(".plot", this.svg);
    this.low = Number(this.svg.dataset.low);
    this.high = Number(this.svg.dataset.high);
    this.lines = queryAll("path[data-x]", this.plot).map((path) => {
      const place = path.dataset.of,
        name = query(`.keys [data-of="${place}"] > :last-child`, chart) || query("th.n", chart);
      return {
        path,
        place,
        xs: numbers(path.dataset.x),
        ys: numbers(path.dataset.y),
        raw: numbers(path.dataset.raw),
        label: name?.textContent || "",
      };
    });
    this.marks();
    queryAll(".pt", this.svg).forEach((band) => {
      band.remove();
    }); /* every point is read instead of some */
    this.area.tabIndex = 0;
    this.area.setAttribute("role", "application");
    this.area.setAttribute("aria-label", `${this.name()}. ${chart.dataset.reads}`);
  }

  name() {
    return titleOf(this.chart) || this.lines.map((line) => line.label).join(", ");
  }

  /* where values stand: read off the drawing itself, from two points of a line whose heights differ */
  marks() {
    this.lines.forEach((line) => {
      const spots = line.path
        .getAttribute("d")
        .split(/[ML]/)
        .slice(1)
        .map((pair) => pair.split(" ").map(Number));
      let at = 0;
      line.tops = line.ys.map((value, place) => {
        const spot = spots[at],
          x = ((line.xs[place] - this.low) / (this.high - this.low)) * 1000;
        if (isNaN(value) || !spot || Math.abs(spot[0] - x) > 0.2) return NaN;
        at += 1;
        return spot[1] / 10;
      });
    });
  }

  seen() {
    return this.lines.filter((line) => !line.path.hasAttribute("hidden"));
  }

  places() {
    const xs = this.seen().flatMap((line) => line.xs.filter((x) => x >= this.low && x <= this.high));
    return Array.from(new Set(xs)).sort((a, b) => a - b);
  }

  said(x) {
    const axis = this.chart.dataset.axis;
    if (axis === "time") return formatTime(new Date(x * 1000));
    if (axis === "relative") return FORMATS.duration(x);
    const head = query("thead th", this.chart);
    return `${head?.textContent || ""} ${FORMATS.number(x)}`.trim();
  }

  at(x) {
    const rows = [];
    this.seen().forEach((line) => {
      if (!line.xs.length) return;
      const at = nearest(line.xs, x);
      if (Math.abs(line.xs[at] - x) > Math.max(between(line.xs), (this.high - this.low) / 200) || isNaN(line.ys[at]))
        return;
      let text = `${line.label} ${FORMATS.number(line.ys[at])}`;
      if (line.raw.length && isFinite(line.raw[at])) text += ` (${FORMATS.number(line.raw[at])})`;
      rows.push({ text, top: line.tops[at], value: line.ys[at] });
    });
    return rows;
  }

  show(x, spoken, top) {
    let rows = this.at(x);
    const more = rows.length - SHOWN;
    this.x = x;
    if (more > 0) {
      /* the nearest to the pointer, or the lowest */
      rows.sort((a, b) => (top === undefined ? a.value - b.value : Math.abs(a.top - top) - Math.abs(b.top - top)));
      rows = rows.slice(0, SHOWN);
    }
    const share = ((x - this.low) / (this.high - this.low)) * 100;
    const texts = [this.said(x)].concat(rows.map((row) => row.text));
    if (more > 0) texts.push(`+ ${more}`);
    const width = Math.max(...texts.map(wide)) + 14,
      left = share < 60 ? 8 : -8 - width;
    this.hide();
    const cursor = (this.cursor = drawSvg(
      "svg",
      { class: "pt", x: `${share}%`, overflow: "visible", "aria-hidden": "true" },
      this.svg,
    ));
    const tip = drawSvg("g", { class: "tip" }, cursor);
    tip.style.opacity = 1;
    drawSvg("line", { class: "at", y2: "100%" }, tip);
    rows.forEach((row) => {
      if (isFinite(row.top)) drawSvg("circle", { class: "dot", r: 4, cy: `${row.top}%` }, tip);
    });
    drawSvg("rect", { x: left, width, height: LINE * texts.length + 6, rx: 4 }, tip);
    texts.forEach((text, place) => {
      drawSvg("text", { x: left + 7, y: LINE * (place + 1) - 1 }, tip).textContent = text;
    });
    if (spoken) query("[data-said]", this.chart).textContent = texts.join(", ");
  }

  hide() {
    this.cursor?.remove();
    this.cursor = null;
  }

  pointed(event) {
    const box = this.plot.getBoundingClientRect();
    return this.low + clamp((event.clientX - box.left) / box.width, 0, 1) * (this.high - this.low);
  }

  hover(event) {
    const box = this.plot.getBoundingClientRect(),
      places = this.places();
    if (places.length)
      this.show(places[nearest(places, this.pointed(event))], false, ((event.clientY - box.top) / box.height) * 100);
  }

  key(event) {
    const places = this.places(),
      last = places.length - 1;
    let at = this.x === undefined ? last : nearest(places, this.x);
    const by = event.shiftKey ? 10 : 1;
    if (event.key === "Escape") {
      this.hide();
      return;
    }
    if (event.key === "ArrowRight") at = this.cursor ? at + by : at;
    else if (event.key === "ArrowLeft") at = this.cursor ? at - by : at;
    else if (event.key === "Home") at = 0;
    else if (event.key === "End") at = last;
    else return;
    event.preventDefault();
    if (last >= 0) this.show(places[clamp(at, 0, last)], true);
  }
}

function nearest(list, value) {
  return list.reduce((best, x, at) => (Math.abs(x - value) < Math.abs(list[best] - value) ? at : best), 0);
}
function between(list) {
  return list.length > 1 ? (list[list.length - 1] - list[0]) / (list.length - 1) : Infinity;
}

function reader(event) {
  return closestTarget(event, '[data-chart="lines"] .area')?.closest("[data-chart]").reader;
}
document.addEventListener("pointermove", (event) => {
  const found = reader(event);
  if (dragging) {
    dragging.to(event);
    return;
  }
  if (found && event.pointerType !== "touch") found.hover(event);
});
document.addEventListener("pointerout", (event) => {
  const found = reader(event);
  if (found && !found.area.contains(event.relatedTarget) && document.activeElement !== found.area) found.hide();
});
document.addEventListener("click", (event) => {
  reader(event)?.hover(event);
});
document.addEventListener("focusin", (event) => {
  const found = reader(event);
  if (!found || event.target !== found.area || found.cursor || !event.target.matches(":focus-visible")) return;
  const places = found.places();
  if (places.length) found.show(found.x === undefined ? places[places.length - 1] : found.x, true);
});
document.addEventListener("focusout", (event) => {
  reader(event)?.hide();
});

/* bars, bins and points: one stop for the tab key, arrows go from one to the next */
function step(chart, event) {
  const points = queryAll(".pt[tabindex]", chart),
    at = points.indexOf(document.activeElement);
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -points.length, End: points.length }[
    event.key
  ];
  if (at < 0 || !by) return;
  event.preventDefault();
  const next = points[clamp(at + by, 0, points.length - 1)];
  points.forEach((point) => {
    point.setAttribute("tabindex", point === next ? "0" : "-1");
  });
  next.focus();
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const found = reader(event);
  let chart;
  if (found && event.target === found.area) {
    found.key(event);
    return;
  }
  if (event.target.matches("[data-toggle]") && event.key === " ") {
    event.preventDefault();
    event.target.click();
    return;
  }
  if ((chart = closestTarget(event, '[data-chart="points"]'))) step(chart, event);
  else if (event.target.matches("[data-graph]")) moveGraph(event.target, event);
});

/* ---- a part looked at nearer: dragged over the axis, and then in the address ---- */
let dragging = null;
function address(changes) {
  const found = new URL(location.href);
  Object.entries(changes).forEach(([key, value]) => {
    if (value === "") found.searchParams.delete(key);
    else found.searchParams.set(key, value);
  });
  return found;
}

class Drag {
  constructor(found, event) {
    this.found = found;
    this.start = found.pointed(event);
    this.clientX = event.clientX;
  }

  to(event) {
    if (!this.box && Math.abs(event.clientX - this.clientX) < 8) return;
    const found = this.found,
      end = found.pointed(event),
      span = found.high - found.low;
    found.hide();
    if (!this.box) this.box = drawSvg("rect", { class: "ghost", height: "100%" }, found.svg);
    this.box.setAttribute("x", `${((Math.min(this.start, end) - found.low) / span) * 100}%`);
    this.box.setAttribute("width", `${(Math.abs(end - this.start) / span) * 100}%`);
    this.end = end;
  }

  drop() {
    if (!this.box) return;
    this.box.remove();
    const axis = this.found.chart.dataset.axis,
      digits = axis === "step" ? 0 : 3; /* ms */
    const low = Math.min(this.start, this.end).toFixed(digits),
      high = Math.max(this.start, this.end).toFixed(digits);
    if (Number(high) > Number(low))
      go(address(digits ? { from: "", to: "", part: [axis, low, high] } : { from: low, to: high, part: "" }));
  }
}

document.addEventListener("pointerdown", (event) => {
  const found = reader(event);
  if (found && event.button === 0 && event.pointerType !== "touch" && "zoom" in found.chart.dataset) {
    dragging = new Drag(found, event);
    event.preventDefault();
    found.area.focus();
  }
});
document.addEventListener("pointerup", () => {
  dragging?.drop();
  dragging = null;
});
document.addEventListener("dblclick", (event) => {
  const found = reader(event);
  if (found && "zoom" in found.chart.dataset) go(address({ from: "", to: "", part: "" }));
});

/* ---- lines that are put away ---- */
document.addEventListener("click", (event) => {
  const toggle = closestTarget(event, "[data-toggle]");
  if (!toggle || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(new URL(toggle.href));
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-draws]") || !query("[data-redraws]")) return;
  event.preventDefault();
  const found = new URL(form.action || location.href),
    values = new FormData(form);
  found.search = new URLSearchParams(Array.from(values).filter((pair) => pair[1] !== "")).toString();
  go(found);
});

/* ---- new points: the server draws again, at most every two seconds, while somebody looks ---- */
const EVERY = 2000;

let asked = 0,
  sent = 0,
  drawn = 0,
  waits = 0,
  stale = false,
  tag = "",
  pressed = null; /* since its form was sent: its list of choices may be open */
/* the part of this page as another address shows it; the page where there is no such part */
function go(found) {
  const part = query("[data-redraws]");
  if (!part) {
    location.assign(found);
    return;
  }
  history.replaceState(null, "", found.pathname + found.search);
  tag = "";
  pressed = null;
  renew();
}
function renew() {
  const part = query("[data-redraws]");
  if (!part) return;
  stale = false;
  asked = Date.now();
  const { search } = location,
    mine = (sent += 1);
  fetchPart(part.dataset.redraws + search, tag ? { "If-None-Match": tag } : {})
    .then((answer) => {
      if (answer.status === 304) return null;
      return answer.text().then((text) => {
        if (search !== location.search || mine < drawn) return; /* a late one */
        drawn = mine;
        tag = answer.headers.get("ETag") || "";
        put(parseHtml(text));
      });
    })
    .catch(() => {
      /* the next point asks again */
    });
}
function put(fresh) {
  const active = document.activeElement,
    kept = {};
  queryAll("[data-chart]").forEach((chart) => {
    if (chart.reader?.cursor) kept[chart.id] = chart.reader.x;
  });
  const around = active?.closest("[data-chart]"),
    toggle = active?.dataset.toggle;
  const reopen = keepOpen();
  queryAll("[data-redrawn]", fresh).forEach((twin) => {
    const old = document.getElementById(twin.id);
    if (!old) return;
    const name = old.contains(active) && active.name;
    /* somebody writes, presses or answers something in it; what has been sent is in the address */
    if (
      (name &&
        isTyping(active) &&
        (active === pressed || active.value !== (new URLSearchParams(location.search).get(name) || ""))) ||
      old.matches(":active") ||
      query("dialog[open]", old)
    ) {
      tag = "";
      stale = true; /* until it is left */
      return;
    }
    const now = document.importNode(twin, true);
    old.replaceWith(now);
    if (name) query(`[name="${CSS.escape(name)}"]`, now)?.focus({ preventScroll: true });
  });
  reopen();
  localizeTimes();
  prepare();
  Object.keys(kept).forEach((id) => {
    document.getElementById(id)?.reader?.show(kept[id], false);
  });
  if (around?.id) {
    const chart = document.getElementById(around.id),
      again =
        chart && (toggle !== undefined ? query(`[data-toggle="${toggle}"]`, chart) : query(".area[tabindex]", chart));
    again?.focus({ preventScroll: true });
    if (!(around.id in kept)) chart?.reader?.hide();
  }
}
function wanted() {
  stale = true;
  if (waits || document.hidden || !query("[data-redraws]")) return;
  waits = setTimeout(
    () => {
      waits = 0;
      if (stale && !document.hidden) renew();
    },
    Math.max(0, asked + EVERY - Date.now()),
  );
}
document.addEventListener("plane:metric", wanted);
["focusout", "pointerup", "pointercancel"].forEach((name) => {
  document.addEventListener(name, () => {
    if (stale) wanted();
  });
});
["pointerdown", "keydown"].forEach((name) => {
  document.addEventListener(name, (event) => {
    pressed = event.target;
  });
});
/* what no stream tells of, a run that is recorded from outside or what the machine does: asked for now and then */
setInterval(() => {
  const part = query("[data-redraws][data-every]");
  if (
    part &&
    !document.hidden &&
    !session.away &&
    !session.signedOut &&
    Date.now() - asked >= Number(part.dataset.every) * 1000
  )
    renew();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && stale) wanted();
});

/* ---- charts that follow the rows which are selected: the selection stands in the address ---- */
document.addEventListener("plane:picked", (event) => {
  const part = query("[data-follows]");
  if (!part) return;
  const name = part.dataset.follows,
    before = (new URLSearchParams(location.search).get(name) || "").split(",").filter(Boolean),
    gone = new Set(event.detail.off);
  /* rows of other pages stay selected */
  const after = before.filter((value) => !gone.has(value));
  event.detail.on.forEach((value) => {
    if (!after.includes(value) && after.length < Number(part.dataset.most)) after.push(value);
  });
  if (after.join() !== before.join()) go(address({ [name]: after.join(), hide: "" }));
});

if (query("[data-redraws][data-pending]")) renew();

/* ---- as PNG: the browser walks over the drawing and paints it, so no image is loaded and the policy stays closed ---- */
const SCALE = 2,
  LONGEST = 16000; /* pixels of a side that browsers paint */
function colour(style, name) {
  const value = style[name];
  return value && value !== "none" && !/, 0\)$/.test(value) ? value : "";
}
/* how much of it is to be seen: 0 for what is not shown at all */
function opacity(element) {
  let found = 1;
  for (; element && element.nodeType === 1 && !element.hasAttribute("data-chart"); element = element.parentElement) {
    const style = getComputedStyle(element);
    if (style.display === "none" || style.visibility === "hidden") return 0;
    found *= Number(style.opacity);
  }
  return found;
}
function outline(element) {
  const path = new Path2D();
  if (element.tagName === "path") return new Path2D(element.getAttribute("d"));
  if (element.tagName === "line") {
    path.moveTo(element.x1.baseVal.value, element.y1.baseVal.value);
    path.lineTo(element.x2.baseVal.value, element.y2.baseVal.value);
  } else if (element.tagName === "circle")
    path.arc(element.cx.baseVal.value, element.cy.baseVal.value, element.r.baseVal.value, 0, 2 * Math.PI);
  else if (element.tagName === "rect") {
    const box = element.getBBox();
    path.rect(box.x, box.y, box.width, box.height);
  }
  return path;
}
function paintText(brush, element, style, matrix) {
  brush.font = `${style.fontWeight} ${parseFloat(style.fontSize) * Math.abs(matrix.a)}px ${style.fontFamily}`;
  brush.textAlign = { middle: "center", end: "right" }[style.textAnchor] || "left";
  brush.fillStyle = colour(style, "fill") || "#000";
  function first(list) {
    return list.numberOfItems ? list.getItem(0).value : 0;
  }
  const x = first(element.x.baseVal) + first(element.dx.baseVal),
    y = first(element.y.baseVal) + first(element.dy.baseVal);
  brush.fillText(element.firstChild?.textContent || "", matrix.a * x + matrix.e, matrix.d * y + matrix.f);
}
function paintShape(brush, element, style, matrix) {
  const path = new Path2D(),
    scaled = style.vectorEffect === "non-scaling-stroke" ? 1 : Math.abs(matrix.a),
    fill = colour(style, "fill"),
    stroke = colour(style, "stroke");
  path.addPath(outline(element), matrix);
  if (fill && element.tagName !== "line") {
    brush.fillStyle = fill;
    brush.fill(path);
  }
  if (!stroke) return;
  brush.strokeStyle = stroke;
  brush.lineWidth = parseFloat(style.strokeWidth) * scaled;
  brush.lineJoin = style.strokeLinejoin;
  brush.setLineDash(style.strokeDasharray === "none" ? [] : style.strokeDasharray.split(",").map(parseFloat));
  brush.stroke(path);
}
function paint(brush, chart, origin) {
  queryAll("svg path, svg line, svg circle, svg rect, svg text", chart).forEach((element) => {
    if (element.closest("button, details, defs, .hit") || !element.getScreenCTM || !opacity(element)) return;
    const style = getComputedStyle(element),
      screen = element.getScreenCTM(),
      clip = element.closest(".plot");
    const matrix = new DOMMatrix([
      screen.a,
      screen.b,
      screen.c,
      screen.d,
      screen.e - origin.left,
      screen.f - origin.top,
    ]);
    brush.save();
    if (clip) {
      const box = clip.getBoundingClientRect();
      brush.beginPath();
      brush.rect(box.left - origin.left - 2, box.top - origin.top - 2, box.width + 4, box.height + 4);
      brush.clip();
    }
    brush.globalAlpha = opacity(element);
    if (element.tagName === "text") paintText(brush, element, style, matrix);
    else paintShape(brush, element, style, matrix);
    brush.restore();
  });
  queryAll(".keys li > :last-child", chart).forEach((name) => {
    const box = name.getBoundingClientRect(),
      style = getComputedStyle(name);
    brush.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    brush.fillStyle = getComputedStyle(chart).color;
    brush.globalAlpha = name.closest(".off") ? 0.4 : 1;
    brush.textAlign = "left";
    brush.fillText(name.textContent, box.left - origin.left, box.bottom - origin.top - 5);
    brush.globalAlpha = 1;
  });
}
function background(element) {
  for (; element; element = element.parentElement) {
    const found = getComputedStyle(element).backgroundColor;
    if (found && !/, 0\)$|transparent/.test(found)) return found;
  }
  return "#fff";
}
function png(chart) {
  const title = chart.reader ? chart.reader.name() : titleOf(chart) || chart.id,
    whole = query("svg.dag", chart),
    foot = query(".foot", chart);
  chart.reader?.hide();
  /* a graph is drawn whole, however much of it is scrolled out of sight */
  const head = 32,
    box = (whole || chart).getBoundingClientRect(),
    end = whole ? box.bottom : foot.getBoundingClientRect().top,
    origin = { left: box.left, top: box.top - head },
    canvas = createElement("canvas");
  const scale = Math.min(SCALE, LONGEST / box.width, LONGEST / (end - box.top + head));
  canvas.width = Math.ceil(box.width * scale);
  canvas.height = Math.ceil((end - box.top + head) * scale);
  const brush = canvas.getContext("2d");
  brush.scale(scale, scale);
  brush.fillStyle = background(chart);
  brush.fillRect(0, 0, box.width, canvas.height);
  brush.fillStyle = getComputedStyle(chart).color;
  brush.font = `600 16px ${getComputedStyle(chart).fontFamily}`;
  brush.fillText(title, 16, 24);
  paint(brush, whole ? whole.parentElement : chart, origin);
  canvas.toBlob((blob) => {
    save(blob, `${fileName(title)}.png`);
  }, "image/png");
}
function titleOf(chart) {
  return chart.closest("figure, section")?.querySelector("h2, h3")?.textContent || "";
}
function fileName(text) {
  return (
    text
      .trim()
      .toLowerCase()
      .replace(/[\s/\\:*?"<>|]+/g, "-")
      .slice(0, 60) || "chart"
  );
}
function save(blob, name) {
  const link = createElement("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 10000);
}
const NUMBER = /^[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?$/i;
function csv(chart) {
  const rows = queryAll("table tr", chart).map((row) =>
    queryAll("th, td", row)
      .map((cell) => {
        let text = cell.textContent.trim();
        if (/^[=+@\t-]/.test(text) && !NUMBER.test(text))
          text = `'${text}`; /* a spreadsheet would take it for a formula */
        if (/^\u2212?[\d,]+(\.\d+)?$/.test(text)) text = text.replace("\u2212", "-").replace(/,/g, "");
        return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
      })
      .join(","),
  );
  save(new Blob([`${rows.join("\r\n")}\r\n`], { type: "text/csv" }), `${fileName(titleOf(chart) || chart.id)}.csv`);
}
document.addEventListener("click", (event) => {
  const button = closestTarget(event, "[data-png], [data-csv]");
  if (!button) return;
  const chart = button.closest("[data-chart]");
  if ("png" in button.dataset) png(chart);
  else csv(chart);
});

/* ---- the graph of lineage: fitted, enlarged, moved ---- */
const LEGIBLE = 0.35; /* a graph that is smaller where it fits opens at its full size instead */
function fitOf(graph) {
  const style = getComputedStyle(graph),
    room = graph.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return Math.min(1, room / query("svg", graph).viewBox.baseVal.width);
}
function zoom(graph, by) {
  const svg = query("svg", graph),
    full = svg.viewBox.baseVal,
    now = graph.zoom || 1;
  const next = by === 0 ? Math.max(0.05, fitOf(graph)) : clamp(now * by, 0.15, 3);
  const middle = {
    x: (graph.scrollLeft + graph.clientWidth / 2) / now,
    y: (graph.scrollTop + graph.clientHeight / 2) / now,
  };
  graph.zoom = next;
  svg.setAttribute("width", full.width * next);
  svg.setAttribute("height", full.height * next);
  graph.scrollLeft = middle.x * next - graph.clientWidth / 2;
  graph.scrollTop = middle.y * next - graph.clientHeight / 2;
}
function toHere(graph) {
  const here = query("#found", graph) || query(".here", graph);
  if (!here) return;
  const box = here.getBoundingClientRect();
  const frame = graph.getBoundingClientRect();
  graph.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
  graph.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
}
function moveGraph(graph, event) {
  const by = { "+": 1.25, "=": 1.25, "-": 0.8, 0: 0 }[event.key];
  if (by === undefined) return; /* arrows scroll it, as they do anything that has the focus */
  event.preventDefault();
  zoom(graph, by);
}
document.addEventListener("click", (event) => {
  const button = closestTarget(event, "[data-zoom-by]");
  if (button) zoom(query("[data-graph]", button.closest("section")), Number(button.dataset.zoomBy));
});
let pan = null;
document.addEventListener("pointerdown", (event) => {
  const graph = closestTarget(event, "[data-graph]");
  if (!graph || event.button !== 0 || event.pointerType === "touch" || event.target.closest("a")) return;
  pan = { graph, x: event.clientX + graph.scrollLeft, y: event.clientY + graph.scrollTop };
  event.preventDefault();
  graph.focus({ preventScroll: true });
});
document.addEventListener("pointermove", (event) => {
  if (pan) {
    pan.graph.scrollLeft = pan.x - event.clientX;
    pan.graph.scrollTop = pan.y - event.clientY;
  }
});
document.addEventListener("pointerup", () => {
  pan = null;
});
document.addEventListener(
  "wheel",
  (event) => {
    const graph = event.ctrlKey && closestTarget(event, "[data-graph]");
    if (graph) {
      event.preventDefault();
      zoom(graph, event.deltaY < 0 ? 1.1 : 1 / 1.1);
    }
  },
  { passive: false },
);

/* ---- whatever comes into the page ---- */
function prepare() {
  queryAll('[data-chart="lines"]').forEach((chart) => {
    if (!chart.reader && query(".area > svg", chart)) chart.reader = new Reader(chart);
    queryAll("text[data-at]", chart).forEach((tick) => {
      const moment = new Date(Number(tick.dataset.at) * 1000);
      if (/:/.test(tick.textContent)) tick.textContent = formatTime(moment, true).slice(0, tick.textContent.length);
      tick.removeAttribute("data-at");
    });
  });
  queryAll('[data-chart="points"]').forEach((chart) => {
    queryAll(".pt[tabindex]", chart).forEach((point, place) => {
      if (place && !chart.roving) point.setAttribute("tabindex", "-1");
    });
    chart.roving = true;
  });
  queryAll("[data-graph]").forEach((graph) => {
    if (graph.zoom) return;
    graph.zoom = 1;
    if (fitOf(graph) >= LEGIBLE) zoom(graph, 0);
    toHere(graph);
  });
}
new MutationObserver((changes) => {
  const fresh = changes.some((change) =>
    Array.from(change.addedNodes).some(
      (node) =>
        node instanceof HTMLElement &&
        (node.matches("[data-chart], [data-graph]") || query("[data-chart], [data-graph]", node)),
    ),
  );
  if (fresh) prepare();
}).observe(document.body, { childList: true, subtree: true });
prepare();

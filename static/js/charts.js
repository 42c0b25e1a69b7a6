/* Charts that the server has drawn: a reading cursor by pointer and keyboard, lines that are put away, a part looked at
   nearer, the drawing as PNG and its table as CSV; new points; and the graph of lineage, moved and enlarged.
   Nothing is drawn that the server does not draw too: without this script the numbers are in the table. */
(function () {
  "use strict";
  var plane = window.plane, one = plane.one, all = plane.all, hit = plane.hit, make = plane.make, clamp = plane.clamp, FORMATS = plane.FORMATS;
  var SVG = "http://www.w3.org/2000/svg";
  var LINE = 16, SHOWN = 12; /* px of a line in a tip; lines in a tip */

  function draw(name, attributes, into) {
    var element = document.createElementNS(SVG, name);
    Object.keys(attributes || {}).forEach(function (key) { element.setAttribute(key, attributes[key]); });
    if (into) into.appendChild(element);
    return element;
  }
  plane.draw = draw;
  function numbers(text) { return (text || "").split(" ").filter(Boolean).map(function (word) { return word === "-" ? NaN : Number(word); }); }
  function wide(text) { return Array.from(text).reduce(function (sum, letter) { return sum + (letter.charCodeAt(0) > 0x2E7F ? 13 : 6.5); }, 0); }

  /* ---- reading a chart of lines ---- */
  function Reader(chart) {
    this.chart = chart;
    this.area = one(".area", chart);
    this.svg = one(".area > svg", chart);
    this.plot = one(".plot", this.svg);
    this.low = Number(this.svg.dataset.low);
    this.high = Number(this.svg.dataset.high);
    this.lines = all("path[data-x]", this.plot).map(function (path) {
      var place = path.dataset.of, name = one('.keys [data-of="' + place + '"] > :last-child', chart) || one("th.n", chart);
      return { path: path, place: place, xs: numbers(path.dataset.x), ys: numbers(path.dataset.y), raw: numbers(path.dataset.raw), label: name ? name.textContent : "" };
    });
    this.marks();
    all(".pt", this.svg).forEach(function (band) { band.remove(); }); /* every point is read instead of some */
    this.area.tabIndex = 0;
    this.area.setAttribute("role", "application");
    this.area.setAttribute("aria-label", this.name() + ". " + chart.dataset.reads);
  }
  Reader.prototype.name = function () {
    return titleOf(this.chart) || this.lines.map(function (line) { return line.label; }).join(", ");
  };
  /* where values stand: read off the drawing itself, from two points of a line whose heights differ */
  Reader.prototype.marks = function () {
    this.lines.forEach(function (line) {
      var spots = line.path.getAttribute("d").split(/[ML]/).slice(1).map(function (pair) { return pair.split(" ").map(Number); });
      var at = 0;
      line.tops = line.ys.map(function (value, place) {
        var spot = spots[at], x = (line.xs[place] - this.low) / (this.high - this.low) * 1000;
        if (isNaN(value) || !spot || Math.abs(spot[0] - x) > 0.2) return NaN;
        at += 1;
        return spot[1] / 10;
      }, this);
    }, this);
  };
  Reader.prototype.seen = function () { return this.lines.filter(function (line) { return !line.path.hasAttribute("hidden"); }); };
  Reader.prototype.places = function () {
    var low = this.low, high = this.high, found = {};
    this.seen().forEach(function (line) { line.xs.forEach(function (x) { if (x >= low && x <= high) found[x] = true; }); });
    return Object.keys(found).map(Number).sort(function (a, b) { return a - b; });
  };
  function nearest(list, value) {
    var low = 0, high = list.length - 1;
    while (low < high) { var middle = (low + high) >> 1; if (list[middle] < value) low = middle + 1; else high = middle; }
    return low > 0 && Math.abs(list[low - 1] - value) <= Math.abs(list[low] - value) ? low - 1 : low;
  }
  function between(list) { return list.length > 1 ? (list[list.length - 1] - list[0]) / (list.length - 1) : Infinity; }
  Reader.prototype.said = function (x) {
    var axis = this.chart.dataset.axis;
    if (axis === "time") return plane.sayTime(new Date(x * 1000));
    if (axis === "relative") return FORMATS.duration(x);
    var head = one("thead th", this.chart);
    return ((head ? head.textContent : "") + " " + FORMATS.number(x)).trim();
  };
  Reader.prototype.at = function (x) {
    var rows = [];
    this.seen().forEach(function (line) {
      if (!line.xs.length) return;
      var at = nearest(line.xs, x);
      if (Math.abs(line.xs[at] - x) > Math.max(between(line.xs), (this.high - this.low) / 200) || isNaN(line.ys[at])) return;
      var text = line.label + " " + FORMATS.number(line.ys[at]);
      if (line.raw.length && isFinite(line.raw[at])) text += " (" + FORMATS.number(line.raw[at]) + ")";
      rows.push({ text: text, top: line.tops[at], value: line.ys[at] });
    }, this);
    return rows;
  };
  Reader.prototype.show = function (x, spoken, top) {
    var rows = this.at(x), more = rows.length - SHOWN;
    this.x = x;
    if (more > 0) { /* the nearest to the pointer, or the lowest */
      rows.sort(function (a, b) { return top === undefined ? a.value - b.value : Math.abs(a.top - top) - Math.abs(b.top - top); });
      rows = rows.slice(0, SHOWN);
    }
    var share = (x - this.low) / (this.high - this.low) * 100;
    var texts = [this.said(x)].concat(rows.map(function (row) { return row.text; }));
    if (more > 0) texts.push("+ " + more);
    var width = Math.max.apply(null, texts.map(wide)) + 14, left = share < 60 ? 8 : -8 - width;
    this.hide();
    var cursor = this.cursor = draw("svg", { "class": "pt", x: share + "%", overflow: "visible", "aria-hidden": "true" }, this.svg);
    var tip = draw("g", { "class": "tip" }, cursor);
    tip.style.opacity = 1;
    draw("line", { "class": "at", y2: "100%" }, tip);
    rows.forEach(function (row) { if (isFinite(row.top)) draw("circle", { "class": "dot", r: 4, cy: row.top + "%" }, tip); });
    draw("rect", { x: left, width: width, height: LINE * texts.length + 6, rx: 4 }, tip);
    texts.forEach(function (text, place) { draw("text", { x: left + 7, y: LINE * (place + 1) - 1 }, tip).textContent = text; });
    if (spoken) one("[data-said]", this.chart).textContent = texts.join(", ");
  };
  Reader.prototype.hide = function () { if (this.cursor) this.cursor.remove(); this.cursor = null; };
  Reader.prototype.pointed = function (event) {
    var box = this.plot.getBoundingClientRect();
    return this.low + clamp((event.clientX - box.left) / box.width, 0, 1) * (this.high - this.low);
  };
  Reader.prototype.hover = function (event) {
    var box = this.plot.getBoundingClientRect(), places = this.places();
    if (places.length) this.show(places[nearest(places, this.pointed(event))], false, (event.clientY - box.top) / box.height * 100);
  };
  Reader.prototype.key = function (event) {
    var places = this.places(), last = places.length - 1;
    var at = this.x === undefined ? last : nearest(places, this.x), by = event.shiftKey ? 10 : 1;
    if (event.key === "Escape") { this.hide(); return; }
    if (event.key === "ArrowRight") at = this.cursor ? at + by : at;
    else if (event.key === "ArrowLeft") at = this.cursor ? at - by : at;
    else if (event.key === "Home") at = 0;
    else if (event.key === "End") at = last;
    else return;
    event.preventDefault();
    if (last >= 0) this.show(places[clamp(at, 0, last)], true);
  };

  function reader(event) {
    var area = hit(event, '[data-chart="lines"] .area');
    return area ? area.closest("[data-chart]").reader : null;
  }
  document.addEventListener("pointermove", function (event) {
    var found = reader(event);
    if (dragging) { dragging.to(event); return; }
    if (found && event.pointerType !== "touch") found.hover(event);
  });
  document.addEventListener("pointerout", function (event) {
    var found = reader(event);
    if (found && !found.area.contains(event.relatedTarget) && document.activeElement !== found.area) found.hide();
  });
  document.addEventListener("click", function (event) { var found = reader(event); if (found) found.hover(event); });
  document.addEventListener("focusin", function (event) {
    var found = reader(event), places;
    if (!found || event.target !== found.area || found.cursor || !event.target.matches(":focus-visible")) return;
    places = found.places();
    if (places.length) found.show(found.x === undefined ? places[places.length - 1] : found.x, true);
  });
  document.addEventListener("focusout", function (event) { var found = reader(event); if (found) found.hide(); });

  /* bars, bins and points: one stop for the tab key, arrows go from one to the next */
  function step(chart, event) {
    var points = all(".pt[tabindex]", chart), at = points.indexOf(document.activeElement);
    var by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -points.length, End: points.length }[event.key];
    if (at < 0 || !by) return;
    event.preventDefault();
    var next = points[clamp(at + by, 0, points.length - 1)];
    points.forEach(function (point) { point.setAttribute("tabindex", point === next ? "0" : "-1"); });
    next.focus();
  }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    var found = reader(event), chart;
    if (found && event.target === found.area) { found.key(event); return; }
    if (event.target.matches("[data-toggle]") && event.key === " ") { event.preventDefault(); event.target.click(); return; }
    if ((chart = hit(event, '[data-chart="points"]'))) step(chart, event);
    else if (event.target.matches && event.target.matches("[data-graph]")) moveGraph(event.target, event);
  });

  /* ---- a part looked at nearer: dragged over the axis, and then in the address ---- */
  var dragging = null;
  function address(changes) {
    var found = new URL(location.href);
    Object.keys(changes).forEach(function (key) { if (changes[key] === "") found.searchParams.delete(key); else found.searchParams.set(key, changes[key]); });
    return found;
  }
  function Drag(found, event) { this.found = found; this.start = found.pointed(event); this.clientX = event.clientX; }
  Drag.prototype.to = function (event) {
    if (!this.box && Math.abs(event.clientX - this.clientX) < 8) return;
    var found = this.found, end = found.pointed(event), span = found.high - found.low;
    found.hide();
    if (!this.box) this.box = draw("rect", { "class": "ghost", height: "100%" }, found.svg);
    this.box.setAttribute("x", (Math.min(this.start, end) - found.low) / span * 100 + "%");
    this.box.setAttribute("width", Math.abs(end - this.start) / span * 100 + "%");
    this.end = end;
  };
  Drag.prototype.drop = function () {
    if (!this.box) return;
    this.box.remove();
    var axis = this.found.chart.dataset.axis, digits = axis === "step" ? 0 : 3; /* ms */
    var low = Math.min(this.start, this.end).toFixed(digits), high = Math.max(this.start, this.end).toFixed(digits);
    if (Number(high) > Number(low)) go(address(digits ? { from: "", to: "", part: [axis, low, high] } : { from: low, to: high, part: "" }));
  };
  document.addEventListener("pointerdown", function (event) {
    var found = reader(event);
    if (found && event.button === 0 && event.pointerType !== "touch" && "zoom" in found.chart.dataset) { dragging = new Drag(found, event); event.preventDefault(); found.area.focus(); }
  });
  document.addEventListener("pointerup", function () { if (dragging) dragging.drop(); dragging = null; });
  document.addEventListener("dblclick", function (event) {
    var found = reader(event);
    if (found && "zoom" in found.chart.dataset) go(address({ from: "", to: "", part: "" }));
  });

  /* ---- lines that are put away ---- */
  document.addEventListener("click", function (event) {
    var toggle = hit(event, "[data-toggle]");
    if (!toggle || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(new URL(toggle.href));
  });
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (!form.matches("form[data-draws]") || !one("[data-redraws]")) return;
    event.preventDefault();
    var found = new URL(form.action || location.href), values = new FormData(form);
    found.search = new URLSearchParams(Array.from(values).filter(function (pair) { return pair[1] !== ""; })).toString();
    go(found);
  });

  /* ---- new points: the server draws again, at most every two seconds, while somebody looks ---- */
  var EVERY = 2000, asked = 0, waits = 0, stale = false, tag = "";
  /* the part of this page as another address shows it; the page where there is no such part */
  function go(found) {
    var part = one("[data-redraws]");
    if (!part) { location.assign(found); return; }
    history.replaceState(null, "", found.pathname + found.search);
    tag = "";
    renew();
  }
  function renew() {
    var part = one("[data-redraws]");
    if (!part) return;
    stale = false;
    asked = Date.now();
    plane.ask(part.dataset.redraws + location.search, tag ? { "If-None-Match": tag } : {}).then(function (answer) {
      if (answer.status === 304) return "";
      tag = answer.headers.get("ETag") || "";
      return answer.text();
    }).then(function (text) { if (text) put(plane.parsed(text)); }).catch(function () { /* the next point asks again */ });
  }
  function put(fresh) {
    var active = document.activeElement, kept = {};
    all("[data-chart]").forEach(function (chart) { if (chart.reader && chart.reader.cursor) kept[chart.id] = chart.reader.x; });
    var around = active && active.closest("[data-chart]"), toggle = active && active.dataset.toggle;
    var reopen = plane.keepOpen();
    all("[data-redrawn]", fresh).forEach(function (twin) {
      var old = document.getElementById(twin.id);
      if (!old || old.contains(active) && plane.typing(active)) return; /* somebody writes in it */
      old.replaceWith(document.importNode(twin, true));
    });
    reopen();
    plane.localTimes();
    prepare();
    Object.keys(kept).forEach(function (id) { var chart = document.getElementById(id); if (chart && chart.reader) chart.reader.show(kept[id], false); });
    if (around && around.id) {
      var chart = document.getElementById(around.id), again = chart && (toggle !== undefined ? one('[data-toggle="' + toggle + '"]', chart) : one(".area[tabindex]", chart));
      if (again) again.focus({ preventScroll: true });
    }
  }
  function wanted() {
    stale = true;
    if (waits || document.hidden || !one("[data-redraws]")) return;
    waits = setTimeout(function () { waits = 0; if (stale && !document.hidden) renew(); }, Math.max(0, asked + EVERY - Date.now()));
  }
  document.addEventListener("plane:metric", wanted);
  /* what no stream tells of, a run that is recorded from outside or what the machine does: asked for now and then */
  setInterval(function () {
    var part = one("[data-redraws][data-every]");
    if (part && !document.hidden && !plane.away && !plane.signedOut && Date.now() - asked >= Number(part.dataset.every) * 1000) renew();
  }, 1000);
  document.addEventListener("visibilitychange", function () { if (!document.hidden && stale) wanted(); });

  /* ---- as PNG: the browser walks over the drawing and paints it, so no image is loaded and the policy stays closed ---- */
  var SCALE = 2, LONGEST = 16000; /* pixels of a side that browsers paint */
  function colour(style, name) { var value = style[name]; return value && value !== "none" && !/, 0\)$/.test(value) ? value : ""; }
  /* how much of it is to be seen: 0 for what is not shown at all */
  function opacity(element) {
    var found = 1;
    for (; element && element.nodeType === 1 && !element.hasAttribute("data-chart"); element = element.parentElement) {
      var style = getComputedStyle(element);
      if (style.display === "none" || style.visibility === "hidden") return 0;
      found *= Number(style.opacity);
    }
    return found;
  }
  function outline(element) {
    var path = new Path2D(), box;
    if (element.tagName === "path") return new Path2D(element.getAttribute("d"));
    if (element.tagName === "line") { path.moveTo(element.x1.baseVal.value, element.y1.baseVal.value); path.lineTo(element.x2.baseVal.value, element.y2.baseVal.value); }
    else if (element.tagName === "circle") path.arc(element.cx.baseVal.value, element.cy.baseVal.value, element.r.baseVal.value, 0, 2 * Math.PI);
    else if (element.tagName === "rect") { box = element.getBBox(); path.rect(box.x, box.y, box.width, box.height); }
    return path;
  }
  function font(style) { return style.fontWeight + " " + style.fontSize + " " + style.fontFamily; }
  function paintText(brush, element, style, matrix) {
    brush.font = style.fontWeight + " " + parseFloat(style.fontSize) * Math.abs(matrix.a) + "px " + style.fontFamily;
    brush.textAlign = { middle: "center", end: "right" }[style.textAnchor] || "left";
    brush.fillStyle = colour(style, "fill") || "#000";
    function first(list) { return list.numberOfItems ? list.getItem(0).value : 0; }
    var x = first(element.x.baseVal) + first(element.dx.baseVal), y = first(element.y.baseVal) + first(element.dy.baseVal);
    brush.fillText(element.firstChild ? element.firstChild.textContent : "", matrix.a * x + matrix.e, matrix.d * y + matrix.f);
  }
  function paintShape(brush, element, style, matrix) {
    var path = new Path2D(), scaled = style.vectorEffect === "non-scaling-stroke" ? 1 : Math.abs(matrix.a), fill = colour(style, "fill"), stroke = colour(style, "stroke");
    path.addPath(outline(element), matrix);
    if (fill && element.tagName !== "line") { brush.fillStyle = fill; brush.fill(path); }
    if (!stroke) return;
    brush.strokeStyle = stroke;
    brush.lineWidth = parseFloat(style.strokeWidth) * scaled;
    brush.lineJoin = style.strokeLinejoin;
    brush.setLineDash(style.strokeDasharray === "none" ? [] : style.strokeDasharray.split(",").map(parseFloat));
    brush.stroke(path);
  }
  function paint(brush, chart, origin) {
    all("svg path, svg line, svg circle, svg rect, svg text", chart).forEach(function (element) {
      if (element.closest("button, details, defs, .hit") || !element.getScreenCTM || !opacity(element)) return;
      var style = getComputedStyle(element), screen = element.getScreenCTM(), clip = element.closest(".plot");
      var matrix = new DOMMatrix([screen.a, screen.b, screen.c, screen.d, screen.e - origin.left, screen.f - origin.top]);
      brush.save();
      if (clip) { var box = clip.getBoundingClientRect(); brush.beginPath(); brush.rect(box.left - origin.left - 2, box.top - origin.top - 2, box.width + 4, box.height + 4); brush.clip(); }
      brush.globalAlpha = opacity(element);
      if (element.tagName === "text") paintText(brush, element, style, matrix); else paintShape(brush, element, style, matrix);
      brush.restore();
    });
    all(".keys li > :last-child", chart).forEach(function (name) {
      var box = name.getBoundingClientRect(), style = getComputedStyle(name);
      brush.font = font(style);
      brush.fillStyle = getComputedStyle(chart).color;
      brush.globalAlpha = name.closest(".off") ? 0.4 : 1;
      brush.textAlign = "left";
      brush.fillText(name.textContent, box.left - origin.left, box.bottom - origin.top - 5);
      brush.globalAlpha = 1;
    });
  }
  function background(element) {
    for (; element; element = element.parentElement) { var found = getComputedStyle(element).backgroundColor; if (found && !/, 0\)$|transparent/.test(found)) return found; }
    return "#fff";
  }
  function png(chart) {
    var title = chart.reader ? chart.reader.name() : titleOf(chart) || chart.id, whole = one("svg.dag", chart), foot = one(".foot", chart);
    if (chart.reader) chart.reader.hide();
    /* a graph is drawn whole, however much of it is scrolled out of sight */
    var head = 32, box = (whole || chart).getBoundingClientRect(), end = whole ? box.bottom : foot.getBoundingClientRect().top, origin = { left: box.left, top: box.top - head }, canvas = make("canvas");
    var scale = Math.min(SCALE, LONGEST / box.width, LONGEST / (end - box.top + head));
    canvas.width = Math.ceil(box.width * scale);
    canvas.height = Math.ceil((end - box.top + head) * scale);
    var brush = canvas.getContext("2d");
    brush.scale(scale, scale);
    brush.fillStyle = background(chart);
    brush.fillRect(0, 0, box.width, canvas.height);
    brush.fillStyle = getComputedStyle(chart).color;
    brush.font = "600 16px " + getComputedStyle(chart).fontFamily;
    brush.fillText(title, 16, 24);
    paint(brush, whole ? whole.parentElement : chart, origin);
    canvas.toBlob(function (blob) { save(blob, fileName(title) + ".png"); }, "image/png");
  }
  function titleOf(chart) {
    var head = chart.closest("figure, section");
    head = head && one("h2, h3", head);
    return head ? head.textContent : "";
  }
  function fileName(text) { return text.trim().toLowerCase().replace(/[\s/\\:*?"<>|]+/g, "-").slice(0, 60) || "chart"; }
  function save(blob, name) {
    var link = make("a", { href: URL.createObjectURL(blob), download: name });
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
  }
  var NUMBER = /^[+-]?[\d,]+(\.\d+)?(e[+-]?\d+)?$/i;
  function csv(chart) {
    var rows = all("table tr", chart).map(function (row) {
      return all("th, td", row).map(function (cell) {
        var text = cell.textContent.trim();
        if (/^[=+@\t-]/.test(text) && !NUMBER.test(text)) text = "'" + text; /* a spreadsheet would take it for a formula */
        if (/^\u2212?[\d,]+(\.\d+)?$/.test(text)) text = text.replace("\u2212", "-").replace(/,/g, "");
        return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
      }).join(",");
    });
    save(new Blob([rows.join("\r\n") + "\r\n"], { type: "text/csv" }), fileName(titleOf(chart) || chart.id) + ".csv");
  }
  document.addEventListener("click", function (event) {
    var button = hit(event, "[data-png], [data-csv]");
    if (!button) return;
    var chart = button.closest("[data-chart]");
    if ("png" in button.dataset) png(chart); else csv(chart);
  });

  /* ---- the graph of lineage: fitted, enlarged, moved ---- */
  var LEGIBLE = 0.6; /* a graph that is smaller where it fits opens at its full size instead */
  function fitOf(graph) {
    var style = getComputedStyle(graph), room = graph.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return Math.min(1, room / one("svg", graph).viewBox.baseVal.width);
  }
  function zoom(graph, by) {
    var svg = one("svg", graph), full = svg.viewBox.baseVal, now = graph.zoom || 1;
    var next = by === 0 ? Math.max(0.05, fitOf(graph)) : clamp(now * by, 0.15, 3);
    var middle = { x: (graph.scrollLeft + graph.clientWidth / 2) / now, y: (graph.scrollTop + graph.clientHeight / 2) / now };
    graph.zoom = next;
    svg.setAttribute("width", full.width * next);
    svg.setAttribute("height", full.height * next);
    graph.scrollLeft = middle.x * next - graph.clientWidth / 2;
    graph.scrollTop = middle.y * next - graph.clientHeight / 2;
  }
  function toHere(graph) {
    var here = one("#found", graph) || one(".here", graph), box, frame;
    if (!here) return;
    box = here.getBoundingClientRect();
    frame = graph.getBoundingClientRect();
    graph.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    graph.scrollTop += box.top + box.height / 2 - frame.top - frame.height / 2;
  }
  function moveGraph(graph, event) {
    var by = { "+": 1.25, "=": 1.25, "-": 0.8, "0": 0 }[event.key];
    if (by === undefined) return; /* arrows scroll it, as they do anything that has the focus */
    event.preventDefault();
    zoom(graph, by);
  }
  document.addEventListener("click", function (event) {
    var button = hit(event, "[data-zoom-by]");
    if (button) zoom(one("[data-graph]", button.closest("section")), Number(button.dataset.zoomBy));
  });
  var pan = null;
  document.addEventListener("pointerdown", function (event) {
    var graph = hit(event, "[data-graph]");
    if (!graph || event.button !== 0 || event.pointerType === "touch" || event.target.closest("a")) return;
    pan = { graph: graph, x: event.clientX + graph.scrollLeft, y: event.clientY + graph.scrollTop };
    event.preventDefault();
    graph.focus({ preventScroll: true });
  });
  document.addEventListener("pointermove", function (event) {
    if (pan) { pan.graph.scrollLeft = pan.x - event.clientX; pan.graph.scrollTop = pan.y - event.clientY; }
  });
  document.addEventListener("pointerup", function () { pan = null; });
  document.addEventListener("wheel", function (event) {
    var graph = event.ctrlKey && hit(event, "[data-graph]");
    if (graph) { event.preventDefault(); zoom(graph, event.deltaY < 0 ? 1.1 : 1 / 1.1); }
  }, { passive: false });

  /* ---- whatever comes into the page ---- */
  function prepare() {
    all('[data-chart="lines"]').forEach(function (chart) {
      if (!chart.reader && one(".area > svg", chart)) chart.reader = new Reader(chart);
      all("text[data-at]", chart).forEach(function (tick) {
        var moment = new Date(Number(tick.dataset.at) * 1000);
        if (/:/.test(tick.textContent)) tick.textContent = plane.sayTime(moment, true).slice(0, tick.textContent.length);
        tick.removeAttribute("data-at");
      });
    });
    all('[data-chart="points"]').forEach(function (chart) {
      all(".pt[tabindex]", chart).forEach(function (point, place) { if (place && !chart.roving) point.setAttribute("tabindex", "-1"); });
      chart.roving = true;
    });
    all("[data-graph]").forEach(function (graph) {
      if (graph.zoom) return;
      graph.zoom = 1;
      if (fitOf(graph) >= LEGIBLE) zoom(graph, 0);
      toHere(graph);
    });
  }
  new MutationObserver(function (changes) {
    var fresh = changes.some(function (change) {
      return Array.from(change.addedNodes).some(function (node) {
        return node instanceof HTMLElement && (node.matches("[data-chart], [data-graph]") || one("[data-chart], [data-graph]", node));
      });
    });
    if (fresh) prepare();
  }).observe(document.body, { childList: true, subtree: true });
  prepare();
})();

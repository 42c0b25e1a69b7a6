"""The diagnostics as plain SVG files, for whoever has no page: one file for each drawing, in one size and colour."""

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from deepseek.diagnostics.document import Confusion, Curve, Diagnostics, Importance, Residuals, Scatter

PLOTS = "plots"  # the folder of the files
PLOT_TYPE = "image/svg+xml"
WIDTH, HEIGHT = 640, 480
LEFT, TOP, SIDE, FOOT = 80, 40, 24, 56  # margins, px
COLOURS = (
    "#0b57d0",
    "#b3261e",
    "#146c2e",
    "#9a6700",
    "#6b3fa0",
    "#00696d",
    "#7a4a1f",
    "#5c5f66",
    "#c2185b",
    "#33691e",
)
INK, LINE = "#1d1f23", "#d5d8de"
MAX_BARS = 20
MAX_LETTERS = 28

Points = Sequence[tuple[float, float]]
Span = tuple[float, float]


def draw_plots(diagnostics: Diagnostics) -> dict[str, str]:
    """File name -> SVG of everything that the diagnostics hold; equal diagnostics give equal bytes."""
    plots: dict[str, str] = {}
    if diagnostics.curves:
        for name, title, axes in (
            ("roc", "ROC curve", ("false positive rate", "true positive rate")),
            ("precision_recall", "Precision and recall", ("recall", "precision")),
        ):
            lines = [(_name_curve(curves, name), getattr(curves, name)) for curves in diagnostics.curves]
            plots[f"{name}.svg"] = _draw_curves(title, axes, lines, diagonal=name == "roc")
    if diagnostics.calibration:
        points = [(entry.confidence, entry.accuracy) for entry in diagnostics.calibration]
        plots["calibration.svg"] = _draw_points(
            "Calibration", ("largest share", "share that was right"), points, (0, 1), (0, 1), joined=True, diagonal=True
        )
    if diagnostics.confusion:
        plots["confusion.svg"] = _draw_confusion(diagnostics.confusion)
    if diagnostics.scatter:
        plots |= _draw_predictions(diagnostics.scatter)
    if diagnostics.residuals:
        plots["residual_histogram.svg"] = _draw_histogram(diagnostics.residuals)
    if diagnostics.importance and diagnostics.importance.features:
        plots["importance.svg"] = _draw_importance(diagnostics.importance)
    return plots


def _name_curve(curves: object, name: str) -> str:
    value = getattr(curves, "auc" if name == "roc" else "average_precision")
    return f"{getattr(curves, 'label', '')} ({'AUC' if name == 'roc' else 'AP'} {value:.3g})"


def _draw_predictions(scatter: Scatter) -> dict[str, str]:
    ends = _span([*scatter.actual, *scatter.predicted])
    pairs = list(zip(scatter.actual, scatter.predicted, strict=True))
    residuals = [(guess, guess - value) for value, guess in pairs]
    up = _span([0.0, *(value for _, value in residuals)])
    return {
        "predicted.svg": _draw_points(
            "Predicted against actual", ("actual", "predicted"), pairs, ends, ends, diagonal=True
        ),
        "residuals.svg": _draw_points(
            "Residuals", ("predicted", "predicted less actual"), residuals, _span([x for x, _ in residuals]), up
        ),
    }


# -- kinds of drawings ----------------------------------------------------------------------------------------------
def _draw_curves(title: str, axes: tuple[str, str], lines: Sequence[tuple[str, Curve]], *, diagonal: bool) -> str:
    parts = [_draw_diagonal()] if diagonal else []
    for place, (label, curve) in enumerate(lines):
        colour, at = COLOURS[place % len(COLOURS)], HEIGHT - FOOT - 12 - 16 * (len(lines) - 1 - place)
        parts.append(_draw_path(zip(curve.x, curve.y, strict=True), (0, 1), (0, 1), colour))
        parts.append(_draw_text(WIDTH - SIDE - 8, at, label, "end", colour))
    return _frame(title, axes, (0, 1), (0, 1), parts)


def _draw_points(
    title: str,
    axes: tuple[str, str],
    points: Points,
    across: Span,
    up: Span,
    *,
    joined: bool = False,
    diagonal: bool = False,
) -> str:
    parts = [_draw_diagonal()] if diagonal else []
    if joined:
        parts.append(_draw_path(points, across, up, COLOURS[0]))
    for x, y in points:
        left, top = _place(x, y, across, up)
        parts.append(f'<circle cx="{left}" cy="{top}" r="3" fill="{COLOURS[0]}" fill-opacity=".5"/>')
    return _frame(title, axes, across, up, parts)


def _draw_histogram(residuals: Residuals) -> str:
    across, up = (residuals.edges[0], residuals.edges[-1]), (0.0, float(max(residuals.counts)))
    parts = []
    for count, start, end in zip(residuals.counts, residuals.edges, residuals.edges[1:], strict=False):
        (left, top), (right, foot) = _place(start, count, across, up), _place(end, 0, across, up)
        parts.append(_draw_box(left, top, right - left, foot - top, COLOURS[0]))
    return _frame("Residuals", ("predicted less actual", "rows"), across, up, parts)


def _draw_importance(importance: Importance) -> str:
    features = importance.features[:MAX_BARS]
    across = _span([0.0, *(end for feature in features for end in (feature.low, feature.high))])
    pitch, left = (HEIGHT - TOP - FOOT) / len(features), 200
    parts = [_draw_text(LEFT, TOP - 6, f"drop of {importance.metric}, mean and range of {importance.repeats} shuffles")]

    def place(value: float) -> float:
        return round(left + (value - across[0]) / (across[1] - across[0]) * (WIDTH - left - SIDE), 2)

    for at, feature in enumerate(features):
        middle = round(TOP + (at + 0.5) * pitch, 2)
        start, end = sorted((place(0.0), place(feature.drop)))
        parts.append(_draw_box(start, round(middle - pitch * 0.3, 2), round(end - start, 2), round(pitch * 0.6, 2)))
        parts.append(f'<path d="M{place(feature.low)} {middle}H{place(feature.high)}" stroke="{INK}"/>')
        parts.append(_draw_text(left - 8, middle + 4, _shorten(feature.name), "end"))
    parts += [_draw_text(place(value), HEIGHT - FOOT + 20, f"{value:g}", "middle") for value in _list_ticks(across)]
    return _wrap("Feature importance", parts)


def _draw_confusion(confusion: Confusion) -> str:
    """Rows of the matrix are classes, columns predictions; a cell is as dark as its share of the row."""
    size, left = len(confusion.labels), 200
    wide, tall = (WIDTH - left - SIDE) / size, (HEIGHT - TOP - FOOT) / size
    parts = [
        _draw_text(left, TOP - 6, "predicted"),
        _draw_text(left - 8, TOP - 6, "actual", "end"),
    ]
    for at, (label, row) in enumerate(zip(confusion.labels, confusion.counts, strict=True)):
        top, total = TOP + at * tall, sum(row) or 1
        if size <= MAX_BARS:
            parts.append(_draw_text(left - 8, round(top + tall / 2 + 4, 2), _shorten(label), "end"))
            parts.append(
                _draw_text(round(left + (at + 0.5) * wide, 2), HEIGHT - FOOT + 20, _shorten(label, 9), "middle")
            )
        for to, count in enumerate(row):
            if not count and size > MAX_BARS:
                continue
            x = round(left + to * wide, 2)
            box = (x, round(top, 2), round(wide * 0.98, 2), round(tall * 0.96, 2))
            parts.append(_draw_box(*box, COLOURS[0], round(0.05 + 0.75 * count / total, 3)))
            if size <= MAX_BARS:
                parts.append(
                    _draw_text(
                        round(x + wide / 2, 2),
                        round(top + tall / 2 + 4, 2),
                        str(count),
                        "middle",
                        "#fff" if count / total > 0.5 else INK,
                    )
                )
    return _wrap("Confusion matrix", parts)


# -- parts ----------------------------------------------------------------------------------------------------------
def _frame(title: str, axes: tuple[str, str], across: Span, up: Span, parts: Iterable[str]) -> str:
    """Axes with their ticks and names around what is drawn."""
    ticks = []
    for value in _list_ticks(up):
        _, y = _place(across[0], value, across, up)
        ticks.append(f'<path d="M{LEFT} {y}H{WIDTH - SIDE}" stroke="{LINE}"/>')
        ticks.append(_draw_text(LEFT - 8, y + 4, f"{value:g}", "end"))
    for value in _list_ticks(across):
        x, _ = _place(value, up[0], across, up)
        ticks.append(_draw_text(x, HEIGHT - FOOT + 20, f"{value:g}", "middle"))
    axis = f'<path d="M{LEFT} {TOP}V{HEIGHT - FOOT}H{WIDTH - SIDE}" stroke="{INK}" fill="none"/>'
    names = [_draw_text(WIDTH - SIDE, HEIGHT - 14, axes[0], "end"), _draw_text(LEFT, TOP - 10, axes[1])]
    return _wrap(title, [*ticks, axis, *parts, *names])


def _wrap(title: str, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
    )
    caption = f'<text x="{WIDTH / 2:g}" y="20" text-anchor="middle" font-size="15" fill="{INK}">{escape(title)}</text>'
    return head + "\n".join([caption, *parts]) + "\n</svg>\n"


def _draw_text(x: float, y: float, text: str, anchor: str = "start", colour: str = INK) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(_clean(text))}</text>'


def _draw_box(x: float, y: float, wide: float, tall: float, colour: str = COLOURS[0], opacity: float = 0.75) -> str:
    box = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{tall:g}"'
    return f'<rect {box} fill="{colour}" fill-opacity="{opacity:g}"/>'


def _draw_path(points: Iterable[tuple[float, float]], across: Span, up: Span, colour: str) -> str:
    places = [_place(x, y, across, up) for x, y in points]
    line = "L".join(f"{x:g} {y:g}" for x, y in places)
    return f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _draw_diagonal() -> str:
    return f'<path d="M{LEFT} {HEIGHT - FOOT}L{WIDTH - SIDE} {TOP}" stroke="{LINE}" stroke-dasharray="5 4"/>'


def _place(x: float, y: float, across: Span, up: Span) -> tuple[float, float]:
    left = LEFT + (x - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - SIDE)
    top = HEIGHT - FOOT - (y - up[0]) / (up[1] - up[0]) * (HEIGHT - TOP - FOOT)
    return round(left, 2), round(top, 2)


def _span(values: Sequence[float]) -> Span:
    """The ends of an axis that holds the values, with some room."""
    low, high = min(values), max(values)
    room = (high - low) * 0.04 or abs(low) * 0.1 or 1.0
    return low - room, high + room


def _list_ticks(span: Span) -> list[float]:
    """About five round values within the ends."""
    size = 10.0 ** math.floor(math.log10((span[1] - span[0]) / 5))
    step = next(size * part for part in (1, 2, 5, 10) if (span[1] - span[0]) / (size * part) <= 6)
    first, last = math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9)
    return [round(step * count, 12) if step > 1e-9 else step * count for count in range(first, last + 1)]


def _shorten(text: str, letters: int = MAX_LETTERS) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _clean(text: str) -> str:
    """Without the control characters that XML does not know."""
    return "".join(letter if letter.isprintable() else " " for letter in text)

"""Example values for the page that shows every component in every state. Figures and names are invented."""

import hashlib
from datetime import UTC, datetime, timedelta
from math import sin
from types import SimpleNamespace
from typing import Any

from django.utils.translation import gettext as _

EDGES = [10.0 * i for i in range(-5, 16)]
BEFORE = [1, 0, 0, 0, 0, 5, 2170, 2052, 665, 711, 847, 988, 905, 617, 502, 306, 156, 57, 21, 7]
AFTER = [1, 0, 0, 0, 0, 5, 2246, 2124, 688, 736, 877, 1023, 937, 639, 520, 317, 161, 59, 22, 7]


def build_field(pointer: str, label: str, control: str = "text", **more: Any) -> SimpleNamespace:
    """One form item, with the attributes the form template reads."""
    blank = {"doc": "", "unit": "", "limit": "", "value": "", "choices": (), "error": "", "required": True}
    return SimpleNamespace(kind="field", pointer=pointer, label=label, control=control, **(blank | more))


def build_group(kind: str, pointer: str, label: str, items: list[SimpleNamespace], **more: Any) -> SimpleNamespace:
    """A group or list item."""
    return SimpleNamespace(kind=kind, pointer=pointer, label=label, items=items, **({"doc": "", "error": ""} | more))


def build_form() -> SimpleNamespace:
    """A form with every control, a group, a list and an error."""
    window = _("Median of this many original values around the gap. Odd, so that the middle is a value.")
    steps = [
        build_group(
            "group",
            f"/steps/{i}",
            _("Step %(n)s") % {"n": i + 1},
            [build_field(f"/steps/{i}/column", _("Column"), value=name)],
        )
        for i, name in enumerate(("close", "volume"))
    ]
    outliers = [
        build_field(
            "/outliers/method",
            _("Method"),
            "select",
            value="mad",
            choices=[("mad", _("median absolute deviation")), ("none", _("leave them"))],
        ),
        build_field(
            "/outliers/keep",
            _("Keep the original too"),
            "checkbox",
            value=True,
            doc=_("Adds a column is_filled."),
        ),
    ]
    return SimpleNamespace(
        error="",
        items=[
            build_field(
                "/window",
                _("Window"),
                "number",
                value=4,
                unit=_("rows"),
                limit=_("3 to 101, odd"),
                doc=window,
                error=_("4 is even. The nearest that fits: 5."),
            ),
            build_field("/note", _("Note"), "textarea", required=False, doc=_("Stands in the record of this version.")),
            build_field("/runs", _("Runs"), "number", required=False, value=200, default="200", keys="numeric"),
            build_field(
                "/columns",
                _("Columns"),
                "boxes",
                required=False,
                boxes=[
                    SimpleNamespace(value="close", label="close", note="double", ticked=True, unfit=False),
                    SimpleNamespace(value="day", label="day", note="date32[day]", ticked=False, unfit=True),
                ],
            ),
            build_group("group", "/outliers", _("Outliers"), outliers, doc=_("What lies too far from its window.")),
            build_group("list", "/steps", _("Steps"), steps),
        ],
    )


def build_wave(place: int, count: int = 60) -> list[tuple[float, float | None]]:
    """A line of its own for each place, with some noise and a gap."""
    return [
        (step, None if place == 1 and 20 < step < 26 else 3 / (1 + step / (4 + place)) + 0.12 * sin(step * (place + 2)))
        for step in range(1, count)
    ]


def build_charts(now: datetime) -> dict[str, Any]:
    """Lines in every state, bars with intervals and without, scattered points, a sparkline."""
    steps = {"x_unit": _("step"), "y_unit": _("loss"), "toggles": True}
    losses = [
        {"label": "train_loss", "points": [(step, 3 / step) for step in range(1, 41)]},
        {"label": "validation_loss", "points": [(step, 3.4 / step + step / 200) for step in range(5, 41, 5)]},
    ]
    clock = [(now.timestamp() + 97 * n, value) for n, (_step, value) in enumerate(build_wave(0))]
    many = [{"label": f"run {place + 1}", "points": build_wave(place, 30)} for place in range(20)]
    below = {"label": "gain", "points": [(step, step - 5.0) for step in range(40)]}
    bars = [
        {"label": "fp32", "value": 0.412, "low": 0.38, "high": 0.45, "best": True},
        {"label": "int8", "value": 0.431, "low": 0.39, "high": 0.47},
        {"label": "last value, the baseline that a model has to beat", "value": 0.52},
    ]
    spots = [{"label": f"run {n}", "x": 10.0 ** -(n % 4 + 1), "y": 0.3 + 0.02 * n, "place": n} for n in range(12)]
    return {
        "lines": {"series": losses, "log": True, "csv": "#", **steps, "id": "c-two", "y_unit": _("loss, log scale")},
        "one_line": {"series": [{"label": "loss", "points": build_wave(1)}], **steps, "id": "c-one"},
        "smooth_lines": {
            "series": [{"label": "loss", "points": build_wave(0, 200)}],
            "smooth": 0.9,
            **steps,
            "id": "c-smooth",
        },
        "clock_lines": {
            "series": [{"label": "loss", "points": clock}],
            **steps,
            "x_unit": _("time"),
            "axis": "time",
            "id": "c-time",
        },
        "twenty_lines": {"series": many, "hidden": [3, 4], **steps, "id": "c-twenty"},
        "log_lines": {"series": [below], "log": True, **steps, "id": "c-log", "y_unit": _("loss, log scale")},
        "small_lines": {"series": losses[:1], "small": True, **steps, "id": "c-small"},
        "no_lines": {"series": [{"label": "loss", "points": [(0, None)]}], **steps},
        "bars": {"bars": bars, "unit": "rmse", "head": _("Form"), "id": "c-bars"},
        "scatter": {"points": spots, "x_unit": "learning_rate", "y_unit": "rmse", "log_x": True, "id": "c-spots"},
        "spark": [value for _step, value in build_wave(1, 40)],
    }


def build_samples() -> dict[str, Any]:
    """Everything the gallery shows."""
    now = datetime.now(UTC)
    lines = ["step 6,000  loss 0.01871", "grad scale halved to 32,768", "CUDA out of memory", "checkpoint 6,000 sealed"]
    levels = ["INFO", "WARNING", "ERROR", "DEBUG"]
    return {
        "states": ["waiting", "queued", "running", "succeeded", "failed", "held", "cancelled"],
        "digests": [hashlib.sha256(word).hexdigest() for word in (b"v6", b"v7", b"v8")],
        "edges": EDGES,
        **build_charts(now),
        "before": BEFORE,
        "after": AFTER,
        "now": now,
        "earlier": now - timedelta(days=3),
        "long_ago": now - timedelta(days=700),
        "form": build_form(),
        "body": {"kind": "clean", "spec": {"window": 5, "note": "WTI's"}},
        "log": [
            {"number": 402 + i, "at": now, "level": level, "text": text}
            for i, (level, text) in enumerate(zip(levels, lines, strict=True))
        ],
        "steps": [
            {"kind": _("Source"), "label": "eia-bundle-2025-w39", "url": "#", "text": _("signed by 2")},
            {"kind": _("Job"), "label": "#1842 clean", "url": "#", "text": _("median, window 5")},
            {"kind": _("This version"), "label": "wti-daily v7", "here": True, "text": "10,367"},
            {"kind": _("Model"), "label": "wti-forecast v4", "url": "#", "text": _("in production")},
        ],
        "events": [
            {
                "state": "running",
                "at": now,
                "title": _("Claimed by %(node)s") % {"node": "gpu-01"},
                "by": "",
                "text": "",
            },
            {"state": "queued", "at": now, "title": _("Queued"), "by": "陈立 Chen Li", "record": 184121, "text": ""},
        ],
        "columns": [
            {"key": "name", "label": _("Name"), "shown": True},
            {"key": "rows", "label": _("Rows"), "shown": False},
        ],
        "filters": [
            {"name": "q", "label": _("Name"), "value": "wti"},
            {
                "name": "state",
                "label": _("State"),
                "value": "",
                "choices": [("", _("Every state")), ("failed", _("Failed"))],
            },
        ],
    }

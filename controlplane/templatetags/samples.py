"""Example values for the page that shows every component in every state. Figures and names are invented."""

import hashlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.utils.translation import gettext as _

EDGES = [10.0 * i for i in range(-5, 16)]
BEFORE = [1, 0, 0, 0, 0, 5, 2170, 2052, 665, 711, 847, 988, 905, 617, 502, 306, 156, 57, 21, 7]
AFTER = [1, 0, 0, 0, 0, 5, 2246, 2124, 688, 736, 877, 1023, 937, 639, 520, 317, 161, 59, 22, 7]


def field(pointer: str, label: str, control: str = "text", **more: Any) -> SimpleNamespace:
    """One form item, with the attributes the form template reads."""
    blank = {"doc": "", "unit": "", "limit": "", "value": "", "choices": (), "error": "", "required": True}
    return SimpleNamespace(kind="field", pointer=pointer, label=label, control=control, **(blank | more))


def group(kind: str, pointer: str, label: str, items: list[SimpleNamespace], **more: Any) -> SimpleNamespace:
    """A group or list item."""
    return SimpleNamespace(kind=kind, pointer=pointer, label=label, items=items, **({"doc": "", "error": ""} | more))


def form() -> SimpleNamespace:
    """A form with every control, a group, a list and an error."""
    window = _("Median of this many original values around the gap. Odd, so that the middle is a value.")
    steps = [
        group(
            "group",
            f"/steps/{i}",
            _("Step %(n)s") % {"n": i + 1},
            [field(f"/steps/{i}/column", _("Column"), value=name)],
        )
        for i, name in enumerate(("close", "volume"))
    ]
    outliers = [
        field(
            "/outliers/method",
            _("Method"),
            "select",
            value="mad",
            choices=[("mad", _("median absolute deviation")), ("none", _("leave them"))],
        ),
        field(
            "/outliers/keep",
            _("Keep the original beside it"),
            "checkbox",
            value=True,
            doc=_("Adds a column is_filled."),
        ),
    ]
    return SimpleNamespace(
        error="",
        items=[
            field(
                "/window",
                _("Window"),
                "number",
                value=4,
                unit=_("rows"),
                limit=_("3 to 101, odd"),
                doc=window,
                error=_("4 is even. The nearest that fits: 5."),
            ),
            field("/note", _("Note"), "textarea", required=False, doc=_("Stands in the record of this version.")),
            group("group", "/outliers", _("Outliers"), outliers, doc=_("What lies too far from its window.")),
            group("list", "/steps", _("Steps"), steps),
        ],
    )


def samples() -> dict[str, Any]:
    """Everything the gallery shows."""
    now = datetime.now(UTC)
    lines = ["step 6,000  loss 0.01871", "grad scale halved to 32,768", "CUDA out of memory", "checkpoint 6,000 sealed"]
    levels = ["INFO", "WARNING", "ERROR", "DEBUG"]
    return {
        "states": ["waiting", "queued", "running", "succeeded", "failed", "held", "cancelled"],
        "digests": [hashlib.sha256(word).hexdigest() for word in (b"v6", b"v7", b"v8")],
        "edges": EDGES,
        "lines": {
            "series": [
                {"label": "train_loss", "points": [(step, 3 / step) for step in range(1, 41)]},
                {"label": "validation_loss", "points": [(step, 3.4 / step + step / 200) for step in range(5, 41, 5)]},
            ],
            "x_unit": _("step"),
            "y_unit": _("loss, log scale"),
            "log": True,
        },
        "before": BEFORE,
        "after": AFTER,
        "now": now,
        "earlier": now - timedelta(days=3),
        "long_ago": now - timedelta(days=700),
        "form": form(),
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

"""A monitor whose features have drifted: run in the plane's home. Its worker leaves the rows alone."""

from __future__ import annotations

from apps.fleet.monitoring.models import Alarm, DriftWindow
from tests.browser.alarms import make_retrained_alarm


def make_drifted_monitor(model: str) -> int:
    """The monitor of an alarm, with 30 features of which two have moved or changed. Its id."""
    monitor = Alarm.objects.get(pk=make_retrained_alarm(model)).monitor
    verdicts = ["changed", "moved", *["stable"] * 28]
    features = [
        {
            "name": f"sensor_{number}",
            "kind": "number",
            "verdict": verdict,
            "message": f"sensor_{number} {verdict}",
            "tests": [{"name": "ks", "value": 0.5 / (number + 1), "p": 1e-9, "corrected_p": 1e-8, "verdict": verdict}],
            "corrected_p": 1e-8,
            "missing_share": 0.02,
            "unseen_share": 0.0,
            "unseen": [],
        }
        for number, verdict in enumerate(verdicts)
    ]
    facts = {"verdict": "changed", "rows": 9_000, "drifted": 2, "features": features}
    version = monitor.windows.first().version_id
    DriftWindow.objects.create(monitor=monitor, until=monitor.evaluated_until, version_id=version, **facts)
    return monitor.pk

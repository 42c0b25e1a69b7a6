"""A home of its own for the keys, and outcomes of probes without running them."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.site.compliance.probes.outcomes import Attempt, ProbeOutcome
from apps.site.compliance.probes.registry import PROBES
from apps.site.compliance.texts import Bilingual

OPERATOR = build_plane_actor(PlaneRole.OPERATOR, host="test")


@pytest.fixture
def home(settings, tmp_path):
    """An empty PLANE_HOME, in which keys, checkpoints and folders are made."""
    settings.PLANE_HOME = tmp_path / "home"
    settings.PLANE_HOME.mkdir()
    return settings.PLANE_HOME


def build_outcomes(failing: tuple[str, ...] = ()) -> list[ProbeOutcome]:
    """An outcome of each probe: met, but for those that are named."""
    return [
        ProbeOutcome(
            name,
            "not met" if name in failing else "met",
            (Attempt(Bilingual(f"try {name}", f"尝试 {name}"), name not in failing, "403"),),
            0.1,
        )
        for name in PROBES
    ]


@pytest.fixture
def quick_probes(monkeypatch):
    """quick_probes("lock-out", ...): the probes that fail from now on; nothing is tried."""

    def choose(*failing: str) -> None:
        monkeypatch.setattr("apps.site.compliance.evidence.run_probes", lambda: iter(build_outcomes(failing)))

    choose()
    return choose

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import timezone


@pytest.fixture
def clock(monkeypatch):
    """clock("03-05 09:30") -> now is that time of 2026, in the zone of the plane."""

    def set_time(text: str) -> datetime:
        at = timezone.make_aware(datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M"))
        monkeypatch.setattr(timezone, "now", lambda: at.astimezone(UTC))
        return at

    return set_time

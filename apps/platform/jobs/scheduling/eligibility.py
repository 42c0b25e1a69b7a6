"""Filter for queued jobs that are not in back-off after a failed attempt."""

from __future__ import annotations

from django.db.models import Q
from django.db.models.functions import Now


def build_due_filter() -> Q:
    """Jobs without a pause, or whose pause is over by the database's clock."""
    return Q(not_before__isnull=True) | Q(not_before__lte=Now())

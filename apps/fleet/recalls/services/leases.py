"""The lease of the process that takes a recall further, by the clock of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from apps.core.errors import StaleState
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.states import ONGOING

LEASE = timedelta(seconds=120)


@dataclass(slots=True)
class Lease:
    """Held until `next_at`; after it another process may take the recall, which counts `rounds` up."""

    recall: Recall

    def renew(self) -> None:
        """Raises StaleState where another process has taken the recall."""
        self.write(next_at=Now() + LEASE)

    def write(self, **fields: Any) -> None:
        """Set columns of the recall as long as it is ours. Raises StaleState."""
        rows = Recall.objects.filter(pk=self.recall.pk, rounds=self.recall.rounds, state__in=ONGOING)
        if not rows.update(**fields):
            raise StaleState("Another process goes on with the recall.", field="recall")


def take_lease(recall: Recall) -> Lease | None:
    """The lease of a recall that is due; None where another process was faster."""
    rows = Recall.objects.filter(pk=recall.pk, rounds=recall.rounds, state__in=ONGOING, next_at__lte=Now())
    if not rows.update(rounds=F("rounds") + 1, next_at=Now() + LEASE):
        return None
    recall.rounds += 1
    return Lease(recall)

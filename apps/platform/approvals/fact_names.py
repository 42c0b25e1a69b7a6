"""Which ids and digests the facts of approvals name. Facts never change, so they are read once, when they are asked."""

from __future__ import annotations

import re
from collections.abc import Collection

from django.db.models import QuerySet

from apps.platform.approvals.models import FactName

# A digest (64 hex digits) or the id of a run (32), as a whole or behind a prefix: `sha256:...`, `m-...`.
NAMES = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])")


def extract_names(facts: str) -> list[str]:
    """The ids and digests in a text of facts, each once."""
    return sorted(set(NAMES.findall(facts)))


def query_fact_names(project_id: int, keys: Collection[str]) -> QuerySet[FactName]:
    """Which of `keys` the facts of an approval of this project name: rows of FactName, over an index."""
    return FactName.objects.filter(project=project_id, key__in=list(keys))

"""What people call the objects of records. The trail lies below all of them: apps above say the names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from apps.core.registry import Registry
from apps.platform.audit.models import AuditRecord

OBJECT_NAMES: Registry[Callable[[Collection[str]], Mapping[str, str]]] = Registry("OBJECT_NAMES")
"""By object type: (ids as text) -> {id: name}, with one query."""
MAX_TYPES = 5  # of one page, the most frequent: each costs a query

Key = tuple[str, str]


def find_object_names(rows: Iterable[AuditRecord]) -> dict[Key, str]:
    """{(object type, id): name} of the objects of these records, as far as they are known."""
    ids: dict[str, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for row in rows:
        if row.object_id and row.object_type in OBJECT_NAMES:
            ids[row.object_type].add(row.object_id)
            counts[row.object_type] += 1
    return {
        (object_type, object_id): name
        for object_type, _count in counts.most_common(MAX_TYPES)
        for object_id, name in OBJECT_NAMES[object_type](ids[object_type]).items()
    }


def parse_keys(ids: Iterable[str]) -> list[int]:
    """The ids that are numbers: a record may name something else."""
    return [int(text) for text in ids if text.isascii() and text.isdigit() and len(text) < 19]

"""Report of an import: counts of the source and of the plane side by side, and the differences by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = (
    "experiments",
    "experiment tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "points",
    "datasets",
    "files",
    "bytes",
    "logged models",
    "model params",
    "model tags",
    "model metrics",
    "model files",
    "model bytes",
    "registered models",
    "versions",
    "aliases",
)
MAX_DIFFERENCES = 1000  # lines that are kept of what differs; the others are counted


@dataclass(slots=True)
class ImportReport:
    source: Counter[str] = field(default_factory=Counter)
    plane: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    left_out: int = 0
    to_do: list[str] = field(default_factory=list)  # what an approver must decide: no difference

    def add_difference(self, what: str) -> None:
        """Note one thing of the source that is not here, or is another here."""
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(what)
        else:
            self.left_out += 1

    def compare(self, what: str, source: Mapping[str, int], plane: Mapping[str, int], *, quiet: bool = False) -> None:
        """Add the counts of one object, and name it where they differ."""
        self.source.update(source)
        self.plane.update(plane)
        for kind, count in source.items():
            if count != plane.get(kind, 0) and not quiet:
                self.add_difference(f"{what}: {count:,} {kind} there, {plane.get(kind, 0):,} here")

    def list_counts(self) -> list[tuple[str, int, int]]:
        return [(kind, self.source[kind], self.plane[kind]) for kind in KINDS]

    @property
    def is_equal(self) -> bool:
        return not self.differences and all(
            source_count == plane_count for _, source_count, plane_count in self.list_counts()
        )

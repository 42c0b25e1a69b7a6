"""What a search answers: groups of hits, and the one that was named exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _

HITS_PER_KIND, HITS_OF_ONE_KIND = 5, 50  # of a group: beside others, and by itself

# Kind of hit -> heading and icon, in the order of the page.
GROUPS: dict[str, tuple[Any, str]] = {
    "job": (_("Jobs"), "jobs"),
    "pipeline": (_("Pipelines"), "jobs"),
    "run": (_("Runs"), "runs"),
    "experiment": (_("Experiments"), "runs"),
    "dataset": (_("Data"), "data"),
    "model": (_("Models"), "models"),
    "logged_model": (_("Logged models"), "models"),
    "study": (_("Federated studies"), "models"),
    "approval": (_("Approvals"), "held"),
    "device": (_("Devices"), "devices"),
    "node": (_("Nodes"), "nodes"),
    "person": (_("People"), "user"),
    "file": (_("Files"), "data"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One object. `exact`: the number, id or version that was typed is this one's own."""

    kind: str
    title: str
    url: str
    text: str = ""
    project: str = ""
    state: str = ""
    exact: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "title": self.title,
            "text": self.text,
            "url": self.url,
            "project": self.project or None,
            "state": self.state or None,
            "exact": self.exact,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    kind: str
    hits: list[Hit]
    more: bool = False  # there are others

    @property
    def label(self) -> str:
        return str(GROUPS[self.kind][0])

    @property
    def icon(self) -> str:
        return GROUPS[self.kind][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResults:
    text: str = ""
    groups: list[Group] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # projects where nothing was looked for by a part of its name

    @property
    def count(self) -> int:
        return sum(len(group.hits) for group in self.groups)

    @property
    def only_exact(self) -> Hit | None:
        """Where to go at once: the only thing that was named exactly."""
        exact = [hit for group in self.groups for hit in group.hits if hit.exact]
        return exact[0] if len(exact) == 1 else None


def group_hits(hits: list[Hit], limit: int) -> list[Group]:
    """Hits by kind, in the order of the page; one more than `limit` says that there are others."""
    by_kind: dict[str, dict[str, Hit]] = {}
    for hit in hits:
        by_kind.setdefault(hit.kind, {}).setdefault(hit.url + hit.title, hit)
    return [
        Group(kind=kind, hits=list(by_kind[kind].values())[:limit], more=len(by_kind[kind]) > limit)
        for kind in GROUPS
        if kind in by_kind
    ]

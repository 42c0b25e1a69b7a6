"""Reads of environments: of a node now or at a date, or of the record of a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Subquery
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.ml.experiments.models import Run
from apps.platform.nodes.models import Node
from apps.site.snapshots.models import NodeEnvironment
from deepseek.environments.comparison import EnvironmentComparison, compare_environments
from deepseek.messages import N_, Message

FORMS = "node:NAME, node:NAME@DATE, run:ID"
MAX_CHOICES = 200  # nodes in a form
MAX_VERSIONS = 50  # earlier environments in a form


@dataclass(frozen=True, slots=True)
class EnvironmentSource:
    """One side of a comparison. `is_partial`: it lists only the packages that a run records."""

    name: str  # as it was asked for
    label: str
    at: datetime | None
    document: dict[str, Any]
    is_partial: bool = False


def get_environment(actor: Actor, name: str, field: str = "of") -> EnvironmentSource:
    """The environment of `node:NAME`, `node:NAME@DATE` or `run:ID`. Raises Invalid or NotFound with the field."""
    policy.require(actor, "node.view")
    kind, _, rest = name.partition(":")
    if kind == "node" and rest:
        return get_node_environment(actor, name, rest, field)
    if kind == "run" and rest:
        return get_run_environment(actor, name, rest, field)
    raise Invalid(
        "{name!r} names no environment.",
        name=name[:120],
        code="invalid",
        field=field,
        limit=FORMS,
        hint=N_("For instance node:gpu-01, node:gpu-01@2026-11-01, or run: and the id of a run."),
    )


def get_node_environment(actor: Actor, name: str, rest: str, field: str) -> EnvironmentSource:
    node_name, at = split_date(rest, field)
    rows = NodeEnvironment.objects.visible_to(actor).filter(node__name=node_name)
    if at is not None:
        rows = rows.filter(at__lte=at)
    row = rows.order_by("-id").first()
    if row is None:
        raise NotFound(
            Message("The node {name!r} has reported no environment until then.", name=node_name[:120])
            if at
            else Message("The node {name!r} has reported no environment.", name=node_name[:120]),
            field=field,
            hint=N_("Its worker reports one whenever it starts."),
        )
    return EnvironmentSource(name, node_name, row.at, dict(row.document))


def split_date(text: str, field: str) -> tuple[str, datetime | None]:
    """The name and the moment of NAME@DATE; a day means its end. Raises Invalid."""
    name, separator, date = text.rpartition("@")
    if not separator:
        return text, None
    try:
        at = parse_datetime(date) if "T" in date or " " in date else None
        day = parse_date(date) if at is None else None
    except ValueError:
        at = day = None
    if day is not None:
        at = datetime(day.year, day.month, day.day, 23, 59, 59)
    if at is None:
        raise Invalid(
            "{date!r} is no date.",
            date=date[:40],
            code="invalid",
            field=field,
            limit="2026-11-30, 2026-11-30T12:00:00Z",
        )
    return name, at if timezone.is_aware(at) else timezone.make_aware(at)


def get_run_environment(actor: Actor, name: str, run_id: str, field: str) -> EnvironmentSource:
    run = Run.objects.visible_to(actor).filter(pk=run_id[:64]).first()
    if run is None or not run.environment:
        raise NotFound("There is no run {run_id!r} with a record of its environment.", run_id=run_id[:64], field=field)
    return EnvironmentSource(name, run.name or run.pk, run.started_at, build_run_document(run.environment), True)


def build_run_document(recorded: dict[str, Any]) -> dict[str, Any]:
    """The record of a run in the form of a node's environment."""
    gpus, packages = recorded.get("gpus"), recorded.get("packages")
    gpus, packages = gpus if isinstance(gpus, list) else [], packages if isinstance(packages, dict) else {}
    return {
        "python": {"version": recorded.get("python", "")},
        "packages": {str(name).replace("_", "-").lower(): version for name, version in packages.items()},
        "drivers": {
            f"gpu_{gpu.get('index', number)}": " ".join(str(gpu[key]) for key in ("name", "driver") if gpu.get(key))
            for number, gpu in enumerate(gpus)
            if isinstance(gpu, dict)
        },
    }


def compare(actor: Actor, left: str, right: str) -> tuple[EnvironmentSource, EnvironmentSource, EnvironmentComparison]:
    """Both sides and what differs. Raises Invalid or NotFound, with the field of the side at fault."""
    before, after = get_environment(actor, left, "left"), get_environment(actor, right, "right")
    partial = ("python", "packages", "drivers") if before.is_partial or after.is_partial else ()
    return before, after, compare_environments(before.document, after.document, partial=partial)


def list_choices(actor: Actor) -> list[tuple[str, str]]:
    """Names for a form: every node that has reported, then the newest of the environments that nodes had before."""
    policy.require(actor, "node.view")
    rows = NodeEnvironment.objects.visible_to(actor)
    newer = rows.filter(node=OuterRef("node"), id__gt=OuterRef("id"))
    earlier = rows.filter(Exists(newer)).order_by("-id").values_list("node__name", "at")
    nodes = Node.objects.filter(Exists(rows.filter(node=OuterRef("pk"))))
    names = nodes.order_by("name").values_list("name", flat=True)
    return [
        *((f"node:{name}", name) for name in names[:MAX_CHOICES]),
        *(
            (f"node:{name}@{at.isoformat()}", f"{name} @ {at:%Y-%m-%d %H:%M}")  # to the microsecond: it is `<= at`
            for name, at in earlier[:MAX_VERSIONS]
        ),
    ]


def list_current_documents() -> dict[str, Any]:
    """The newest environment of each node by its name, for the records of a snapshot."""
    newest = NodeEnvironment.objects.filter(node=OuterRef("pk")).order_by("-id")
    rows = Node.objects.annotate(environment=Subquery(newest.values("document")[:1])).order_by("name")
    return {name: document for name, document in rows.values_list("name", "environment") if document}

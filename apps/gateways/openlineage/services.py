"""Receive an event of another tool: store it as it came, and record its runs, jobs, datasets and lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Invalid
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import build_version_end
from apps.data.datasets.queries import DIGEST, NUMBER
from apps.gateways.openlineage.checks import DATASET, MAX_ITEMS, check_event, get_dataset_version, parse_time
from apps.gateways.openlineage.models import ForeignEnd, ForeignRun, LineageEvent
from apps.gateways.openlineage.naming import FOREIGN_DATASET, FOREIGN_JOB, build_key, get_namespace
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.messages import N_

ENDS = ("COMPLETE", "FAIL", "ABORT")
Event = Mapping[str, Any]


def receive_event(*, actor: Actor, project: Project, event: Any) -> tuple[LineageEvent, bool]:
    """Store an event, and draw what follows from it. Returns it and whether it is new: the same twice is one.

    Every new one is audited, whether or not it adds edges. Raises Invalid with every fault of the event.
    """
    policy.require(actor, "lineage.record", project)
    kind = check_event(event)
    text = encode_canonical_json(event)
    digest = sha256_hex(text)
    present = LineageEvent.objects.filter(project=project, digest=digest).first()
    if present is not None:
        return present, False
    with transaction.atomic():
        row = build_event_row(actor, project, event, kind, digest, text)
        LineageEvent.objects.bulk_create([row], ignore_conflicts=True)
        stored = LineageEvent.objects.filter(project=project, digest=digest).get()
        record_lineage(actor, project, event, kind, row)
        audit.record(
            actor=actor,
            action="lineage.receive",
            obj=stored,
            after={"kind": kind, "event_type": row.event_type, "run": str(row.run_id or ""), "job": row.job_name},
            digests={"event": digest},
        )
    return stored, True


def build_event_row(actor: Actor, project: Project, event: Event, kind: str, digest: str, text: str) -> LineageEvent:
    job = event.get("job") if kind != DATASET else None
    return LineageEvent(
        project=project,
        digest=digest,
        kind=kind,
        event_type=event.get("eventType") or "",
        event_time=get_event_time(event),
        run_id=UUID(event["run"]["runId"]) if "run" in event else None,
        job_key=build_key(job["namespace"], job["name"]) if job else "",
        job_namespace=job["namespace"] if job else "",
        job_name=job["name"] if job else "",
        producer=event["producer"],
        body=text,
        received_by=actor.label,
    )


def get_event_time(event: Event) -> datetime:
    time = parse_time(event["eventTime"])
    assert time is not None  # noqa: S101  check_event has read it
    return time


# -- what follows ---------------------------------------------------------------------------------------------------
def record_lineage(actor: Actor, project: Project, event: Event, kind: str, row: LineageEvent) -> None:
    """The ends that the event names, the run, and the edges between them."""
    at = row.event_time
    if kind == DATASET:
        ensure_ends(project, [event["dataset"]], at)
        return
    sides = {side: list(event.get(side) or ()) for side in ("inputs", "outputs")}
    ends = ensure_ends(project, [*sides["inputs"], *sides["outputs"]], at)
    job = ensure_job(project, event["job"], at)
    if "run" in event:
        merge_run(project, event, job, at)
    job_end = End(FOREIGN_JOB, job.key, label=job.name)
    edges = [EdgeSpec.between(ends[get_identity(dataset)], job_end, "input") for dataset in sides["inputs"]]
    edges += [EdgeSpec.between(job_end, ends[get_identity(dataset)], "output") for dataset in sides["outputs"]]
    record_edges(actor=actor, project=project, edges=edges)


Identity = tuple[str, str, str]


def get_identity(dataset: Event) -> Identity:
    return dataset["namespace"], dataset["name"], get_dataset_version(dataset)


def ensure_ends(project: Project, datasets: Iterable[Event], at: datetime) -> dict[Identity, End]:
    """The end that each dataset is: a version of ours where it names one, else one of another tool."""
    facets_by_identity: dict[Identity, dict[str, Any]] = {}
    for dataset in datasets:
        facets_by_identity[get_identity(dataset)] = {
            **facets_by_identity.get(get_identity(dataset), {}),
            **(dataset.get("facets") or {}),
        }
    own_ends = find_own_ends(project, facets_by_identity)
    foreign = [
        ForeignEnd(
            project=project,
            type=FOREIGN_DATASET,
            key=build_key(*names),
            namespace=names[0],
            name=names[1],
            version=names[2],
            facets=facets,
            told_at=at,
        )
        for names, facets in facets_by_identity.items()
        if names not in own_ends
    ]
    save_ends(project, foreign)
    return own_ends | {(e.namespace, e.name, e.version): End(e.type, e.key, label=str(e)) for e in foreign}


def find_own_ends(project: Project, identities: Iterable[Identity]) -> dict[Identity, End]:
    """The project's versions that are named by our namespace, a dataset, and a number or digest; one query."""
    condition = Q(pk__in=())
    own_identities = [identity_key for identity_key in identities if identity_key[0] == get_namespace(project.slug)]
    for _namespace, name, version in own_identities:
        if NUMBER.fullmatch(version):
            condition |= Q(dataset__name=name, number=int(version))
        elif DIGEST.fullmatch(version):
            condition |= Q(dataset__name=name, digest=version)
    ends: dict[Identity, End] = {}
    if not own_identities:
        return ends
    versions = DatasetVersion.objects.filter(condition, dataset__project=project).select_related("dataset")
    for row in versions.defer("manifest", "params", "columns"):
        for version_name in (str(row.number), row.digest):
            ends[get_namespace(project.slug), row.dataset.name, version_name] = build_version_end(row)
    return {identity_key: ends[identity_key] for identity_key in own_identities if identity_key in ends}


def ensure_job(project: Project, job: Event, at: datetime) -> ForeignEnd:
    names = job["namespace"], job["name"]
    end = ForeignEnd(
        project=project,
        type=FOREIGN_JOB,
        key=build_key(*names),
        namespace=names[0],
        name=names[1],
        facets=job.get("facets") or {},
        told_at=at,
    )
    save_ends(project, [end])
    return ForeignEnd.objects.get(project=project, type=FOREIGN_JOB, key=end.key)


def save_ends(project: Project, ends: list[ForeignEnd]) -> None:
    """Make those that are new; over what is there, the facets of the later event win, whichever came first."""
    if not ends:
        return
    incoming = {(end.type, end.key): (end.facets, end.told_at) for end in ends}
    for end in ends:
        end.facets = merge_facets({}, end.facets)
    ForeignEnd.objects.bulk_create(ends, ignore_conflicts=True)
    keys = [end.key for end in ends]
    rows = ForeignEnd.objects.select_for_update().filter(project=project, key__in=keys).order_by("pk")
    changed = []
    for row in rows:
        if (row.type, row.key) not in incoming:
            continue
        new_facets, at = incoming[row.type, row.key]
        facets = merge_facets_by_time(row.facets, row.told_at, new_facets, at)
        if facets != row.facets or at > row.told_at:
            row.facets, row.told_at = facets, max(row.told_at, at)
            changed.append(row)
    ForeignEnd.objects.bulk_update(changed, ["facets", "told_at"])


def merge_run(project: Project, event: Event, job: ForeignEnd, at: datetime) -> None:
    """What the events of one run say together: facets of the later one win, and an end is not begun again."""
    run_id, facets = UUID(event["run"]["runId"]), event["run"].get("facets") or {}
    fresh = ForeignRun(project=project, run_id=run_id, job=job, told_at=at)
    ForeignRun.objects.bulk_create([fresh], ignore_conflicts=True)
    run = ForeignRun.objects.select_for_update().get(project=project, run_id=run_id)
    run.facets = merge_facets_by_time(run.facets, run.told_at, facets, at)
    kind = event.get("eventType") or ""
    if kind in ENDS:
        run.state, run.ended_at = kind, at
    elif run.state not in ENDS and kind and (not run.state or at >= run.told_at):
        run.state = kind
    if kind == "START" and (run.started_at is None or at < run.started_at):
        run.started_at = at
    run.told_at = max(run.told_at, at)
    run.save()


def merge_facets_by_time(old: Event, old_at: datetime, new: Event, new_at: datetime) -> dict[str, Any]:
    """Both together. Raises Invalid for more facets than one event may have: names that never come again heap up."""
    both = merge_facets(old, new) if new_at >= old_at else merge_facets(new, old)
    if len(both) > MAX_ITEMS:
        raise Invalid(
            "With those that were told before there are {count} facets.",
            count=len(both),
            code="too_many_facets",
            field="facets",
            limit=MAX_ITEMS,
            hint=N_("Give facets that say the same thing one name; mark those that are not needed as _deleted."),
        )
    return both


def merge_facets(old: Event, new: Event) -> dict[str, Any]:
    """Facets by name; one that is marked as deleted goes."""
    both = {**old, **new}
    return {name: facet for name, facet in both.items() if not facet.get("_deleted")}

"""What carries a subject: everything downstream of it, however far, and of a row only what may contain the row.

Reads only. The walk goes on from node to node in the database and meets each once: it is complete, unlike those behind
pages, which stop at what can be drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import connection

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.row_origins import (
    MAX_VERSIONS,
    DescendantRows,
    load_versions,
    query_chain,
    trace_descendants,
)
from apps.fleet.recalls.subjects import DATASET_VERSION, Subject
from apps.fleet.releases.models import Release
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.accounts.models import Project
from apps.platform.lineage.models import Edge
from apps.platform.lineage.traversal import Key

KEYS_PER_QUERY = 500
WALKED_TYPES = (DATASET_VERSION, "run", "variant", "model_version")
# CROSS JOIN keeps SQLite to this order: by itself it reads every edge of the project for each node.
WALK = """
    WITH RECURSIVE reached(type, id) AS (
        {roots}
        UNION
        SELECT e.target_type, e.target_id FROM reached CROSS JOIN {table} e
        WHERE e.project_id = %s AND e.source_type = reached.type AND e.source_id = reached.id{stops}
    )
    SELECT type, id FROM reached WHERE type IN ({types})"""
ROOT = "SELECT CAST(%s AS varchar(40)), CAST(%s AS varchar(80))"


@dataclass(frozen=True, slots=True)
class Carriers:
    """Nodes of lineage by type and id. `exact`: what certainly carries the subject; `possible`: what may, because
    nothing recorded says that the row did not get that far."""

    exact: frozenset[Key]
    possible: frozenset[Key] = frozenset()
    rows: tuple[DescendantRows, ...] = ()  # of a row: where exactly it went
    cleared: frozenset[int] = frozenset()  # of a row: dataset versions below that do not contain it
    version_ids: frozenset[int] = frozenset()  # model versions, exact and possible
    exact_version_ids: frozenset[int] = frozenset()

    def list_ids(self, type: str) -> list[str]:
        return sorted(id for kind, id in self.exact | self.possible if kind == type)

    def list_numbers(self, type: str) -> list[int]:
        return [int(id) for id in self.list_ids(type)]

    def is_exact(self, type: str, id: str) -> bool:
        return (type, id) in self.exact

    def narrow(self, *, exact_only: bool) -> frozenset[int]:
        """The model versions that a recall acts on."""
        return self.exact_version_ids if exact_only else self.version_ids


@dataclass(slots=True)
class RowSpread:
    """Where a row of a dataset version went: dataset versions by key."""

    containing: set[int] = field(default_factory=set)
    cleared: set[int] = field(default_factory=set)
    rows: list[DescendantRows] = field(default_factory=list)


def find_carriers(actor: Actor, project: Project, subject: Subject) -> Carriers:
    """Everything of the project that carries the subject, itself included."""
    roots = expand_subject(subject)
    if not subject.row:
        exact = walk_forward(project, roots)
        return add_versions(project, Carriers(exact))
    spread = trace_row(actor, project, subject)
    stops = {(DATASET_VERSION, str(pk)) for pk in spread.cleared}
    everything = walk_forward(project, roots, stops)
    unknown = {key for key in everything if key[0] == DATASET_VERSION and int(key[1]) not in spread.containing}
    sources = [(DATASET_VERSION, str(pk)) for pk in sorted(spread.containing)]
    exact = walk_forward(project, sources, stops | unknown)
    cleared = frozenset(spread.cleared)
    return add_versions(project, Carriers(exact, everything - exact, tuple(spread.rows), cleared))


def expand_subject(subject: Subject) -> list[Key]:
    """The nodes to start at: of a model version its forms and their bytes too, from which others were made."""
    roots = [subject.key]
    variants = Variant.objects.none()
    if subject.type == "model_version":
        variants = Variant.objects.filter(version=int(subject.id))
    elif subject.type == "variant":
        variants = Variant.objects.filter(pk=int(subject.id))
    for pk, digest in variants.values_list("pk", "artifact_id"):
        roots += [("variant", str(pk)), ("artifact", digest)]
    return roots


def walk_forward(project: Project, roots: Collection[Key], stops: Collection[Key] = ()) -> frozenset[Key]:
    """The nodes of WALKED_TYPES that can be reached from `roots` without entering one of `stops`, dataset versions."""
    if not roots:
        return frozenset()
    ids = sorted(id for _type, id in stops)
    excluded = f" AND NOT (e.target_type = %s AND e.target_id IN ({', '.join(['%s'] * len(ids))}))" if ids else ""
    sql = WALK.format(
        roots=" UNION ALL ".join([ROOT] * len(roots)),
        table=connection.ops.quote_name(Edge._meta.db_table),
        stops=excluded,
        types=", ".join(["%s"] * len(WALKED_TYPES)),
    )
    values: list[str | int] = [part for root in roots for part in root]
    values += [project.pk, *([DATASET_VERSION, *ids] if ids else []), *WALKED_TYPES]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return frozenset(cursor.fetchall())


def trace_row(actor: Actor, project: Project, subject: Subject) -> RowSpread:
    """Which versions below contain the row, and which do not, as the origins of their rows say.

    A version that is made of others too, or whose way back was not recorded, is in neither: it may contain the row.
    """
    version = load_versions(actor, [int(subject.id)])[int(subject.id)]
    descendants = trace_descendants(actor, version, subject.row)
    spread = RowSpread(rows=descendants.reached)
    spread.containing = {version.pk, *(rows.version.pk for rows in descendants.reached)}
    if descendants.truncated:
        return spread
    recorded = {version.pk}
    chain = list(query_chain(version, "origin_version_id", "id", MAX_VERSIONS + 1))
    below = DatasetVersion.objects.filter(pk__in=chain).exclude(pk=version.pk)
    facts = {row[0]: row for row in below.values_list("pk", "origin_version_id", "keeps_rows", "origins_id", "job_id")}
    merged = find_merged(project, {row[4] for row in facts.values() if row[4]})
    for pk in chain:
        if pk in facts and facts[pk][1] in recorded and (facts[pk][2] or facts[pk][3]) and facts[pk][4] not in merged:
            recorded.add(pk)
    spread.cleared = recorded - spread.containing
    return spread


def find_merged(project: Project, jobs: Collection[int]) -> set[int]:
    """Those of the jobs that more than one dataset version went into: origins tell of the first alone."""
    counts: dict[int, set[str]] = {}
    edges = Edge.objects.filter(project=project, target_type="job", target_id__in=[str(pk) for pk in jobs])
    for job, source in edges.filter(source_type=DATASET_VERSION).values_list("target_id", "source_id"):
        counts.setdefault(int(job), set()).add(source)
    return {job for job, sources in counts.items() if len(sources) > 1}


def add_versions(project: Project, carriers: Carriers) -> Carriers:
    """The same with the model versions that carry it: those that lineage names, and those of its variants and runs."""
    versions = find_version_ids(project, carriers.exact)
    possible = find_version_ids(project, carriers.possible)
    return Carriers(
        exact=carriers.exact,
        possible=carriers.possible,
        rows=carriers.rows,
        cleared=carriers.cleared,
        version_ids=frozenset(versions | possible),
        exact_version_ids=frozenset(versions),
    )


def find_version_ids(project: Project, keys: Collection[Key]) -> set[int]:
    """Deleted ones too: devices may still run them."""
    by_type: dict[str, list[str]] = {}
    for type, id in keys:
        by_type.setdefault(type, []).append(id)
    rows = ModelVersion.objects.filter(model__project=project).order_by()
    version_ids: set[int] = set()
    for lookup, type in (("pk__in", "model_version"), ("variants__in", "variant"), ("run__in", "run")):
        ids = by_type.get(type, [])
        for start in range(0, len(ids), KEYS_PER_QUERY):
            chunk = ids[start : start + KEYS_PER_QUERY]
            version_ids |= set(rows.filter(**{lookup: chunk}).values_list("pk", flat=True))
    return version_ids


def list_release_ids(versions: Collection[int]) -> list[int]:
    """Every release of these model versions, revoked ones too: devices go on with what they have."""
    return list(Release.objects.filter(variant__version__in=versions).order_by("pk").values_list("pk", flat=True))

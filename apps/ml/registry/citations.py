"""What the registry names without a foreign key: the rows that a variant was measured on, and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from django.db.models import Min

from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.approvals.fact_names import query_fact_names
from apps.platform.lineage.models import Edge

MAX_LINEAGE_ENDS = 2_000  # ends of the lineage of one run
MAX_ENDS_PER_QUERY = 500  # ends of one query
End = tuple[str, str]
"""(type, key) of an end of lineage"""


def find_cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that some variant was measured on. Registered in ARTIFACT_CITATIONS."""
    return set(Variant.objects.filter(heldout__in=digests).values_list("heldout", flat=True).distinct())


def find_cited_runs(runs: Sequence[Run]) -> dict[str, str]:
    """{id: why} of those of `runs`, all of one project, that an approval's facts name, or whose lineage leads to a
    version that is not deleted. Registered in RUN_CITATIONS; versions that name a run do so by a foreign key."""
    if not runs:
        return {}
    project_id, ids = runs[0].project_id, {run.pk for run in runs}
    approvals = query_fact_names(project_id, ids).values_list("key").annotate(first=Min("approval")).order_by()
    cited = {key: f"the facts of approval {pk} name it" for key, pk in approvals}
    return cited | find_live_descendants(
        project_id, {run.pk: get_lineage_starts(run) for run in runs if run.pk not in cited}
    )


def get_lineage_starts(run: Run) -> set[End]:
    return {("run", run.pk)} | ({("job", str(run.job_id))} if run.job_id else set())


def find_live_descendants(project_id: int, starts: Mapping[str, set[End]]) -> dict[str, str]:
    """{run: the live version that the lineage leads to from its `starts`, in words}; without those that lead to none.

    All are walked at once, step by step. Beyond FOLLOWED ends the answer is that it does: what cannot be told stays.
    """
    why: dict[str, str] = {}
    visited = {run: set(ends) for run, ends in starts.items()}
    frontier = defaultdict[End, set[str]](set)  # the runs that came to an end with the last step
    for run, ends in starts.items():
        for end in ends:
            frontier[end].add(run)
    while frontier:
        following = defaultdict[End, set[str]](set)
        for kind in sorted({kind for kind, _ in frontier}):
            for source, target in iter_targets(project_id, kind, sorted(pk for of, pk in frontier if of == kind)):
                for run in frontier[kind, source]:
                    if target not in visited[run]:
                        visited[run].add(target)
                        following[target].add(run)
        for version in iter_live_versions(following):
            for run in following["model_version", str(version.pk)]:
                why.setdefault(run, f"its lineage leads to {version}")
        for run in set().union(*following.values()):
            if len(visited[run]) > MAX_LINEAGE_ENDS:
                why.setdefault(run, f"its lineage leads to more than {MAX_LINEAGE_ENDS} others")
        frontier.clear()
        frontier.update({end: left for end, runs in following.items() if (left := runs - why.keys())})
    return why


def iter_targets(project_id: int, kind: str, sources: Sequence[str]) -> Iterator[tuple[str, End]]:
    """(source, target) of every edge on from these; of one with more than FOLLOWED targets, one more than that."""
    for start in range(0, len(sources), MAX_ENDS_PER_QUERY):
        part = sources[start : start + MAX_ENDS_PER_QUERY]
        rows = Edge.objects.filter(project=project_id, source_type=kind, source_id__in=part)
        triples = list(rows.values_list("source_id", "target_type", "target_id").distinct()[: MAX_LINEAGE_ENDS + 1])
        if len(triples) > MAX_LINEAGE_ENDS and len(part) > 1:
            half = len(part) // 2
            yield from iter_targets(project_id, kind, part[:half])
            yield from iter_targets(project_id, kind, part[half:])
        else:
            yield from ((source, (of, pk)) for source, of, pk in triples)


def iter_live_versions(ends: Iterable[End]) -> Iterator[ModelVersion]:
    versions = sorted(int(pk) for kind, pk in ends if kind == "model_version" and pk.isdecimal())
    for start in range(0, len(versions), MAX_ENDS_PER_QUERY):
        rows = ModelVersion.objects.filter(pk__in=versions[start : start + MAX_ENDS_PER_QUERY], deleted_at=None)
        yield from rows.select_related("model").order_by("pk")

"""What the registry names without a foreign key: the rows that a variant was measured on, and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from django.db.models import Min

from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.approvals.fact_names import query_fact_names
from apps.platform.lineage.models import Edge

FOLLOWED = 2_000  # ends of the lineage of one run
TOGETHER = 500  # ends of one query
End = tuple[str, str]
"""(type, key) of an end of lineage"""


def cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that some variant was measured on. One of settings.ARTIFACT_CITATIONS."""
    return set(Variant.objects.filter(heldout__in=digests).values_list("heldout", flat=True).distinct())


def cited_runs(runs: Sequence[Run]) -> dict[str, str]:
    """{id: why} of those of `runs`, all of one project, that an approval's facts name, or whose lineage leads to a
    version that is not deleted. One of settings.RUN_CITATIONS; versions that name a run do so by a foreign key."""
    if not runs:
        return {}
    project_id, ids = runs[0].project_id, {run.pk for run in runs}
    named = query_fact_names(project_id, ids).values_list("key").annotate(first=Min("approval")).order_by()
    cited = {key: f"the facts of approval {pk} name it" for key, pk in named}
    return cited | leads_to(project_id, {run.pk: starts_of(run) for run in runs if run.pk not in cited})


def starts_of(run: Run) -> set[End]:
    return {("run", run.pk)} | ({("job", str(run.job_id))} if run.job_id else set())


def leads_to(project_id: int, starts: Mapping[str, set[End]]) -> dict[str, str]:
    """{run: the live version that the lineage leads to from its `starts`, in words}; without those that lead to none.

    All are walked at once, step by step. Beyond FOLLOWED ends the answer is that it does: what cannot be told stays.
    """
    why: dict[str, str] = {}
    seen = {run: set(ends) for run, ends in starts.items()}
    edge = defaultdict[End, set[str]](set)  # the runs that came to an end with the last step
    for run, ends in starts.items():
        for end in ends:
            edge[end].add(run)
    while edge:
        following = defaultdict[End, set[str]](set)
        for kind in sorted({kind for kind, _ in edge}):
            for source, target in targets_of(project_id, kind, sorted(pk for of, pk in edge if of == kind)):
                for run in edge[kind, source]:
                    if target not in seen[run]:
                        seen[run].add(target)
                        following[target].add(run)
        for version in live_among(following):
            for run in following["model_version", str(version.pk)]:
                why.setdefault(run, f"its lineage leads to {version}")
        for run in set().union(*following.values()):
            if len(seen[run]) > FOLLOWED:
                why.setdefault(run, f"its lineage leads to more than {FOLLOWED} others")
        edge.clear()
        edge.update({end: left for end, runs in following.items() if (left := runs - why.keys())})
    return why


def targets_of(project_id: int, kind: str, sources: Sequence[str]) -> Iterator[tuple[str, End]]:
    """(source, target) of every edge on from these; of one with more than FOLLOWED targets, one more than that."""
    for start in range(0, len(sources), TOGETHER):
        part = sources[start : start + TOGETHER]
        rows = Edge.objects.filter(project=project_id, source_type=kind, source_id__in=part)
        found = list(rows.values_list("source_id", "target_type", "target_id").distinct()[: FOLLOWED + 1])
        if len(found) > FOLLOWED and len(part) > 1:
            half = len(part) // 2
            yield from targets_of(project_id, kind, part[:half])
            yield from targets_of(project_id, kind, part[half:])
        else:
            yield from ((source, (of, pk)) for source, of, pk in found)


def live_among(ends: Iterable[End]) -> Iterator[ModelVersion]:
    versions = sorted(int(pk) for kind, pk in ends if kind == "model_version" and pk.isdecimal())
    for start in range(0, len(versions), TOGETHER):
        rows = ModelVersion.objects.filter(pk__in=versions[start : start + TOGETHER], deleted_at=None)
        yield from rows.select_related("model").order_by("pk")

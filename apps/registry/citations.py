"""What the registry names without a foreign key: the rows that a variant was measured on, and runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from apps.approvals.models import Approval
from apps.experiments.models import Run
from apps.lineage.models import Edge
from apps.registry.models import ModelVersion, Variant

RUN_ID = re.compile(r"\b[0-9a-f]{32}\b")
FOLLOWED = 2_000  # ends of the lineage of one run


def cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that some variant was measured on. One of settings.ARTIFACT_CITATIONS."""
    return set(Variant.objects.filter(heldout__in=digests).values_list("heldout", flat=True).distinct())


def cited_runs(runs: Sequence[Run]) -> dict[str, str]:
    """{id: why} of those of `runs`, all of one project, that an approval's facts name, or whose lineage leads to a
    version that is not deleted. One of settings.RUN_CITATIONS; versions that name a run do so by a foreign key."""
    if not runs:
        return {}
    project_id, ids = runs[0].project_id, {run.pk for run in runs}
    cited: dict[str, str] = {}
    facts = Approval.objects.filter(project=project_id).order_by("pk").values_list("pk", "facts")
    for pk, text in facts.iterator(chunk_size=200):
        cited |= dict.fromkeys(ids.intersection(RUN_ID.findall(text)), f"the facts of approval {pk} name it")
    for run in runs:
        if run.pk not in cited and (why := leads_to(project_id, starts_of(run))):
            cited[run.pk] = why
    return cited


def starts_of(run: Run) -> set[tuple[str, str]]:
    return {("run", run.pk)} | ({("job", str(run.job_id))} if run.job_id else set())


def leads_to(project_id: int, starts: set[tuple[str, str]]) -> str:
    """The live version that the lineage leads to from `starts`, in words; "" where it leads to none.

    Beyond FOLLOWED ends the answer is that it does: what cannot be told stays.
    """
    seen, edge = set(starts), set(starts)
    while edge:
        following = set[tuple[str, str]]()
        for kind in {kind for kind, _ in edge}:
            here = [pk for of, pk in edge if of == kind]
            rows = Edge.objects.filter(project=project_id, source_type=kind, source_id__in=here)
            following |= set(rows.values_list("target_type", "target_id")[:FOLLOWED])
        edge = following - seen
        seen |= edge
        versions = [int(pk) for kind, pk in edge if kind == "model_version" and pk.isdecimal()]
        live = ModelVersion.objects.filter(pk__in=versions, deleted_at=None).select_related("model").first()
        if live is not None:
            return f"its lineage leads to {live}"
        if len(seen) > FOLLOWED:
            return f"its lineage leads to more than {FOLLOWED} others"
    return ""

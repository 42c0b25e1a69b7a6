"""The samples of a variant: rows with the answers that it gave on this plane, by which a device checks what it has."""

from __future__ import annotations

from apps.ml.registry.models import Variant
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.states import JobState

KIND = "health_samples"
OUTPUT_SLOT, MANIFEST_SLOT = "samples", "manifest"


def find_samples(variant: Variant) -> Artifact | None:
    """The newest samples that a job of the plane made of exactly this variant, or None."""
    rows = JobOutput.objects.filter(
        slot=OUTPUT_SLOT,
        job__project=variant.version.project_id,
        job__kind=KIND,
        job__state=JobState.SUCCEEDED,
        job__inputs__slot=MANIFEST_SLOT,
        job__inputs__artifact=variant.manifest_id,
        artifact__damaged_at=None,
    )
    output = rows.select_related("artifact").order_by("-job_id").first()
    return output.artifact if output else None

"""Ask for the samples of a variant: a job of the plane runs it on held-out rows and keeps what it answers."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.fleet.releases.samples import KIND, MANIFEST_SLOT, find_samples
from apps.ml.registry.models import Variant
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.jobs.states import JobState
from deepseek.messages import N_

GOING = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)


def request_samples(*, actor: Actor, variant: Variant) -> tuple[Job, bool]:
    """The job that makes the samples of this variant, and whether it is new: one that has made them, or is about to, is
    not asked for again. Raises Conflict `heldout_unknown` where no held-out rows of the model are known."""
    project = variant.version.model.project
    policy.require(actor, "release.prepare", project)
    # Where the samples of a job that succeeded are damaged, they are made again.
    states = (*GOING, JobState.SUCCEEDED) if find_samples(variant) else GOING
    jobs = Job.objects.filter(project=project, kind=KIND, state__in=states)
    jobs = jobs.filter(inputs__slot=MANIFEST_SLOT, inputs__artifact=variant.manifest_id)
    if earlier := jobs.order_by("-pk").first():
        return earlier, False
    rows = list(variant.version.variants.select_related("artifact").order_by("pk"))
    trained = next(row for row in rows if row.parent_id is None)
    heldout = next((row.heldout for row in (variant, trained, *rows) if row.heldout), "")
    if not heldout:
        raise Conflict(
            "No held-out rows of {version} are known.",
            version=variant.version,
            code="heldout_unknown",
            field="variant",
            hint=N_("Train the model on the plane, or release it with without_samples."),
        )
    digests = {
        "model": variant.artifact_id,
        MANIFEST_SLOT: variant.manifest_id,
        "trained": trained.artifact_id,
        "trained_manifest": trained.manifest_id,
        "heldout": heldout,
    }
    submission = Submission(
        kind=KIND,
        spec={},
        inputs=[InputSpec(slot=slot, digest=digest) for slot, digest in digests.items()],
        name=f"{variant}"[:200],
    )
    return submit_job(actor=actor, project=project, submission=submission)

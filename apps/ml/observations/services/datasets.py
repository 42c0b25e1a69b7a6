"""A dataset version of a period: a job reads the parts and joins predictions with their labels."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Sum

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.data.datasets.versions.registration import check_name
from apps.ml.observations.models import HourFigures, ObservationPart, ObservationSource
from apps.ml.observations.services.batches import HOUR
from apps.ml.observations.services.sealing import seal_period
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.jobs.services.idempotency import find_by_idempotency_key
from apps.platform.jobs.services.requests import build_job_key_conflict
from apps.platform.jobs.spec_validation import serialize_spec
from deepseek.messages import N_
from deepseek.observations.spec import ObservationsSpec

KIND = "observations"
MAX_PARTS = 5_000  # of one job


def create_dataset_version(
    *, actor: Actor, source: ObservationSource, dataset: str, spec: ObservationsSpec, idempotency_key: str | None = None
) -> Job:
    """Queue the job that makes a version of `dataset` from the observations of a period.

    What has landed of the period is sealed first, so that the version holds everything that came before this call.
    The same key finds the first job, whatever has come since. Raises Invalid where nothing fits or the period has too
    many parts, and what submit_job raises.
    """
    require(actor, "observation.make_dataset", source)
    check_name(dataset)
    if first := find_first_job(actor, source, dataset, spec, idempotency_key):
        return first
    if not count_rows(source, spec):
        raise Invalid(
            "No prediction of {source} fits.",
            source=source.name,
            code="no_observations",
            field="/since",
            limit=f"{spec.since.isoformat()} to {spec.until.isoformat()}",
            hint=N_("Choose a longer period, or fewer filters."),
        )
    seal_period(actor=build_plane_actor(PlaneRole.WORKER), source=source, since=spec.since, until=spec.until)
    parts = list_parts(source, spec.since, spec.until)
    if len(parts) > MAX_PARTS:
        raise Invalid(
            "The period has {count} parts.",
            count=len(parts),
            code="too_many_parts",
            field="/until",
            limit=MAX_PARTS,
            hint=N_("Choose a shorter period, and make several versions."),
        )
    submission = Submission(
        kind=KIND,
        spec=spec.model_dump(mode="json"),
        inputs=[InputSpec(slot=name_slot(part), digest=part.artifact_id) for part in parts],
        register={"dataset": dataset},
        name=f"{source.name} {spec.since:%Y-%m-%d %H:%M} – {spec.until:%Y-%m-%d %H:%M}",
        idempotency_key=idempotency_key,
    )
    try:
        return submit_job(actor=actor, project=source.project, submission=submission)[0]
    except Conflict:
        if first := find_first_job(actor, source, dataset, spec, idempotency_key):  # it came while this one sealed
            return first
        raise


def find_first_job(
    actor: Actor, source: ObservationSource, dataset: str, spec: ObservationsSpec, key: str | None
) -> Job | None:
    """The job of the same key; None without one. Raises Conflict if that was for another request.

    submit_job compares the parts too, which grow while rows come: here what was asked for is compared.
    """
    require(actor, "job.submit", source.project)
    job = find_by_idempotency_key(Job.objects.all(), actor=actor, project_id=source.project_id, key=key)
    if job and (job.kind, job.spec, job.register) != (KIND, serialize_spec(spec), {"dataset": dataset}):
        raise build_job_key_conflict(job)
    return job


def count_rows(source: ObservationSource, spec: ObservationsSpec) -> int:
    """Predictions (or labelled ones) in the hours that the period touches."""
    rows = HourFigures.objects.filter(
        source=source, hour__gt=spec.since - HOUR, hour__lt=spec.until, is_shadow=spec.shadow
    )
    narrow = {"version__model__name": spec.model, "version__number": spec.version, "variant": spec.variant}
    rows = rows.filter(**{name: value for name, value in narrow.items() if value})
    return rows.aggregate(count=Sum("labelled" if spec.labelled_only else "predictions"))["count"] or 0


def list_parts(source: ObservationSource, since: datetime, until: datetime) -> list[ObservationPart]:
    rows = ObservationPart.objects.filter(source=source, hour__gt=since - HOUR, hour__lt=until)
    return list(rows.order_by("hour", "kind", "pk")[: MAX_PARTS + 1])


def name_slot(part: ObservationPart) -> str:
    """The slot of a part, as the engine reads it: kind, hour, and what tells parts of one hour apart."""
    return f"{part.kind}-{part.hour:%Y%m%d%H}-{part.pk}"

"""What a job makes of labelled data has its label: the high-water mark."""

from __future__ import annotations

from django.db.models import Max

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetFile
from apps.platform.accounts.security_labels import get_label_name
from apps.platform.audit.services import record
from apps.platform.jobs.models import JobInput


def raise_label_to_inputs(actor: Actor, dataset: Dataset, job_id: int | None) -> None:
    """Raise the label of the dataset to the highest of what the job read; in the transaction that adds the version.

    By the bytes that went in, of datasets of the same project; never lowers anything. One query, where nothing in the
    project is labelled.
    """
    if job_id is None or not has_labels(dataset.project_id, above=dataset.security_label):
        return
    inputs = JobInput.objects.filter(job=job_id).values("artifact")
    files = DatasetFile.objects.filter(artifact__in=inputs, version__dataset__project=dataset.project_id)
    highest = files.aggregate(label=Max("version__dataset__security_label"))["label"] or 0
    raise_label(actor, dataset, highest, job=job_id)


def raise_label(actor: Actor, dataset: Dataset, label: int, **source: object) -> None:
    """Raise the label of the dataset to that of what it was made of (`source`, for the record); never lower it."""
    if label <= dataset.security_label:
        return
    record(
        actor=actor,
        action="dataset.set_label",
        obj=dataset,
        reason="made of data with this label",
        before={"label": get_label_name(dataset.security_label)},
        after={"label": get_label_name(label), **source},
    )
    Dataset.objects.filter(pk=dataset.pk).update(security_label=label)


def has_labels(project_id: int, *, above: int) -> bool:
    return Dataset.objects.filter(security_label__gt=max(above, 0), project=project_id).exists()

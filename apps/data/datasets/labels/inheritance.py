"""What a job makes of labelled data has its label: the high-water mark."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Max, Q

from apps.core.actors import Actor
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.platform.accounts.security_labels import get_label_name
from apps.platform.artifacts.models import Holding
from apps.platform.audit.services import record
from apps.platform.jobs.models import JobInput, JobOutput

DIGESTS_PER_QUERY = 500


def raise_label_to_inputs(actor: Actor, dataset: Dataset, job_id: int | None) -> None:
    """Raise the label of the dataset to the highest of what the job read; in the transaction that adds the version.

    By the bytes that went in, of datasets of the same project, and by those that went into the jobs that made them: a
    model carries the label of the data it was trained on into its predictions. Never lowers anything. Two short
    queries, where nothing in the project is labelled.
    """
    if job_id is None:
        return
    labelled = Holding.objects.filter(project=dataset.project_id, security_label__gt=dataset.security_label)
    if has_labels(dataset.project_id, above=dataset.security_label) or labelled.exists():
        raise_label(actor, dataset, find_highest_input_label(dataset.project_id, job_id), job=job_id)


def find_highest_input_label(project_id: int, job_id: int) -> int:
    """The highest label of the bytes that a job took, and of those that the jobs that made them took, and so on.

    Bytes that a dataset has are under its label alone: somebody may have lowered it.
    """
    highest, visited, jobs = 0, {job_id}, [job_id]
    while jobs:
        batch, jobs = jobs[:DIGESTS_PER_QUERY], jobs[DIGESTS_PER_QUERY:]
        inputs = JobInput.objects.filter(job__in=batch, artifact__isnull=False).values("artifact")
        files = DatasetFile.objects.filter(artifact__in=inputs, version__dataset__project=project_id)
        held = Holding.objects.filter(artifact__in=inputs, project=project_id)  # of what was deleted since
        of_files = files.aggregate(label=Max("version__dataset__security_label"))["label"] or 0
        highest = max(highest, of_files, held.aggregate(label=Max("security_label"))["label"] or 0)
        outputs = JobOutput.objects.filter(artifact__in=inputs, job__project=project_id)
        outputs = outputs.exclude(artifact__in=files.values("artifact"))
        makers = set(outputs.values_list("job_id", flat=True)) - visited
        visited |= makers
        jobs += sorted(makers)
    return highest


def raise_label_to_bytes(actor: Actor, dataset: Dataset, digests: Collection[str]) -> None:
    """Raise the label of the dataset to the highest of what has these bytes in its project, or had them until it was
    deleted; in the transaction that adds the version. A copy under another name is no way out of a label.

    The bytes are governed by the dataset again. Two short queries, where nothing in the project is labelled.
    """
    labelled = Holding.objects.filter(project=dataset.project_id, security_label__isnull=False)
    has_held, highest = labelled.exists(), 0
    if not has_held and not has_labels(dataset.project_id, above=dataset.security_label):
        return
    listed = sorted(set(digests))
    for start in range(0, len(listed), DIGESTS_PER_QUERY):
        part = listed[start : start + DIGESTS_PER_QUERY]
        files = DatasetFile.objects.filter(artifact__in=part, version__dataset__project=dataset.project_id)
        label = files.aggregate(label=Max("version__dataset__security_label"))["label"] or 0
        held = labelled.filter(artifact__in=part)
        highest = max(highest, label, held.aggregate(label=Max("security_label"))["label"] or 0)
        if has_held:
            held.update(security_label=None)
    raise_label(actor, dataset, highest, source="the same bytes")


def keep_label_of_bytes(version: DatasetVersion) -> None:
    """Before the files of a labelled version go: its label stays with those bytes that no dataset below it has."""
    label = version.dataset.security_label
    if not label:
        return
    files = DatasetFile.objects.filter(version__dataset__project=version.dataset.project_id)
    below = files.filter(version__dataset__security_label__lt=label)
    own = version.files.exclude(artifact__in=below.values("artifact")).values("artifact")
    holdings = Holding.objects.filter(project=version.dataset.project_id, artifact__in=own)
    holdings.filter(Q(security_label=None) | Q(security_label__lt=label)).update(security_label=label)


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

"""The one way to add a version: every upload, ingest, push and job output ends in `add_version`.

It validates the files, numbers the version under the dataset's lock, requires the check of its expectations, records
the audit entry and makes the commit. Nothing else creates rows of versions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import compute_digest, sha256_hex
from apps.core.errors import Invalid
from apps.data.datasets.labels.inheritance import has_labels, raise_label_to_bytes, raise_label_to_inputs
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.provenance.row_origin_runs import RowOriginRef
from apps.data.datasets.quality.required_expectations import CheckedTable, require_checked
from apps.data.datasets.versions.commits import record_commit
from apps.data.datasets.versions.deletion import insert_files, restore_version
from apps.data.datasets.versions.legacy_paths import LegacyPaths
from apps.data.datasets.versions.manifest import (
    StoredBytes,
    VersionFile,
    check_files,
    render_manifest,
)
from apps.platform.accounts.models import SLUG, Project
from apps.platform.artifacts.bulk_sql import find_unheld_digests
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit import services as audit
from apps.platform.jobs.provenance import resolve_requester
from deepseek.messages import N_

DIGESTS_PER_QUERY = 500


def ensure_dataset(*, actor: Actor, project: Project, name: str) -> Dataset:
    """Get or create the dataset called `name`; safe against concurrent calls."""
    dataset = Dataset.objects.filter(project=project, name=name).first()
    if dataset is not None:
        policy.require(actor, "dataset.view", dataset)
        return dataset
    policy.require(actor, "dataset.create", project)
    check_name(name)
    try:
        with transaction.atomic():
            return insert_dataset(actor, project, name, "")
    except IntegrityError:
        return Dataset.objects.get(project=project, name=name)


def add_version(
    *,
    actor: Actor,
    dataset: Dataset,
    files: Sequence[VersionFile],
    media_type: str,
    rows: int | None,
    columns: Sequence[Mapping[str, str]],
    script: str,
    params: Mapping[str, Any],
    job_id: int | None = None,
    quality: Artifact | None = None,
    note: str = "",
    rows_from: RowOriginRef | None = None,
    has_commit: bool = False,
    checked: CheckedTable | None = None,
    old_paths: Container[object] | None = None,
    part_rows: Mapping[str, int] | None = None,
) -> tuple[DatasetVersion, bool]:
    """Add a version of these files, or return the existing one: the digest of the manifest identifies it.

    Returns it and whether it is new. `has_commit`: the caller brings the commit of it, else one is made. `checked`:
    the result of check_expectations. `old_paths`: those that may stay as they are (check_path), else those of the
    newest version. `part_rows`: {path: rows} of files that are the parts of one table, whose columns were compared.
    Numbers have no gaps and none is given twice: the dataset's row is locked while the next one is taken. Raises
    Invalid for files of nonsense or bytes that the project does not hold.
    """
    policy.require(actor, "dataset.add_version", dataset)
    check_files(files, LegacyPaths(dataset.project_id, dataset.name) if old_paths is None else old_paths)
    text = render_manifest(files)
    check_text("note", note)
    check_held(dataset.project_id, [artifact for _, artifact, _ in files])
    digest = sha256_hex(text)
    with transaction.atomic():
        locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
        existing = DatasetVersion.objects.select_related("dataset").filter(dataset=locked, digest=digest).first()
        digests = [artifact.digest for _, artifact, _ in files]
        if existing is not None and existing.deleted_at is not None:
            require_checked(locked, job_id, checked, files)
            raise_label_to_bytes(actor, locked, digests)
            restore_version(actor, existing, list(files), quality, part_rows)
            if not has_commit:
                record_commit(existing)
            return existing, True
        if existing is not None:
            return existing, False
        require_checked(locked, job_id, checked, files)
        number = locked.versions_count + 1
        Dataset.objects.filter(pk=locked.pk).update(versions_count=number, touched_at=timezone.now())
        version = DatasetVersion.objects.create(
            dataset=locked,
            number=number,
            digest=digest,
            manifest=text,
            media_type=media_type,
            rows=rows,
            size=sum(artifact.size for _, artifact, _ in files),
            columns=[dict(column) for column in columns],
            parts=len(part_rows or ()),
            script=script,
            params=dict(params),
            job_id=job_id,
            quality=quality,
            note=note,
            created_by=resolve_requester(actor, job_id),
            **(rows_from.fields() if rows_from else {}),
        )
        insert_files(version, files, part_rows)
        audit.record(
            actor=actor,
            action="dataset.add_version",
            obj=version,
            after={"dataset": locked.name, "number": number, "rows": rows, "script": script, "job": job_id},
            digests={"manifest": digest, **({"expectations": compute_digest(checked.expectations)} if checked else {})},
        )
        if not has_commit:
            record_commit(version)
        raise_label_to_bytes(actor, locked, digests)
        raise_label_to_inputs(actor, locked, job_id)
    dataset.versions_count = number
    return version, True


def insert_dataset(actor: Actor, project: Project, name: str, description: str) -> Dataset:
    dataset = Dataset.objects.create(
        project=project, name=name, description=description, created_by=resolve_requester(actor)
    )
    audit.record(actor=actor, action="dataset.create", obj=dataset, after={"name": name, "description": description})
    return dataset


def check_held(project_id: int, artifacts: Sequence[StoredBytes]) -> None:
    """Raise Invalid for an artifact that the project does not hold; another project may, and keeps it to itself."""
    missing = sorted(find_unheld_digests(project_id, {artifact.digest for artifact in artifacts}))
    if missing:
        raise build_unheld_error(missing[0])


def check_readable(actor: Actor, project_id: int, digests: Collection[str]) -> None:
    """Raise the same for bytes that a security label hides from the actor: named by their digest alone they would come
    to stand in a dataset without a label. One query, where nothing in the project is labelled above the clearance."""
    if actor.is_cleared_for_all or not has_labels(project_id, above=actor.clearance):
        return
    named = sorted(set(digests))
    for start in range(0, len(named), DIGESTS_PER_QUERY):
        part = named[start : start + DIGESTS_PER_QUERY]
        rows = Holding.objects.readable_by(actor).filter(project=project_id, artifact__in=part)
        hidden = sorted(set(part).difference(rows.values_list("artifact_id", flat=True)))
        if hidden:
            raise build_unheld_error(hidden[0])


def build_unheld_error(missing: str) -> Invalid:
    return Invalid(
        "The project holds no artifact {missing}.",
        missing=missing,
        code="artifact_unknown",
        field="digest",
        limit="an artifact of this project",
        hint=N_("Upload it first."),
    )


def check_name(name: str) -> None:
    if not re.search(SLUG.regex, name):
        raise Invalid(
            "{name!r} cannot be the name of a dataset.",
            name=name[:60],
            code="bad_name",
            field="name",
            limit="1 to 50 lower-case letters, digits and hyphens, a letter or digit first",
            hint=N_("For instance wti-daily."),
        )


def check_text(field: str, value: str) -> None:
    if len(value) > 500:
        raise Invalid(
            "{name} has {count} characters.",
            name=field,
            count=len(value),
            field=field,
            limit="500 characters",
            hint=N_("Shorten it."),
        )

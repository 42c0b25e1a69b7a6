"""Expectations that every new version of a dataset must meet, and how they get into the specs of jobs.

A dataset keeps its expectations; a job that registers in it gets them into its spec when it is submitted, so its record
says what was checked. Then a version comes only of a job that checked, or of a table that was checked while somebody
waited (expectation_gate.py), see `require_checked`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from pydantic import BaseModel

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound
from apps.data.datasets.models import Dataset
from apps.data.datasets.versions.manifest import (
    PARQUET,
    VersionFile,
    find_main_table,
    is_table_of_parts,
    render_manifest,
)
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.jobs.spec_validation import parse_model
from deepseek.messages import N_, Message
from deepseek.profile.spec import ProfileSpec
from deepseek.quality.expectations_spec import MAX_EXPECTATIONS, AnyExpectation, Expectations

FIELD = "expectations"


def load_expectations(dataset: Dataset) -> list[AnyExpectation]:
    """The expectations of a dataset, typed."""
    return list(Expectations.model_validate({FIELD: dataset.expectations}).expectations)


def is_check_required(dataset: Dataset) -> bool:
    """Whether versions must be checked before they are created: expectations that only warn require nothing."""
    return any(each.get("severity", "error") == "error" for each in dataset.expectations)


def find_cleared_dataset(actor: Actor, project: Project, name: str, field: str) -> Dataset | None:
    """The dataset called `name`, if it exists; NotFound where its label is above the actor's clearance: what it expects
    is not the actor's to know, nor to be gone round."""
    dataset = Dataset.objects.filter(project=project, name=name).first()
    if dataset is not None and not policy.is_cleared(actor, dataset):
        raise NotFound("The project has no dataset {name!r}.", name=name[:60], field=field)
    return dataset


def find_demanding_dataset(actor: Actor, project: Project, name: str) -> Dataset | None:
    """The dataset called `name`, if it exists and requires a check."""
    dataset = find_cleared_dataset(actor, project, name, "/dataset")
    return dataset if dataset is not None and is_check_required(dataset) else None


def set_expectations(
    *, actor: Actor, dataset: Dataset, expectations: Sequence[Mapping[str, Any]], strict: bool = True
) -> Dataset:
    """Replace the expectations of the dataset; existing versions stay as they are.

    Jobs that were submitted before go by what held then. Raises Invalid with every error, each with its pointer.
    """
    policy.require(actor, "dataset.set_expectations", dataset)
    parsed = parse_model(Expectations, {FIELD: list(expectations)}, strict=strict, prefix="")
    rows = [each.model_dump(mode="json") for each in parsed.expectations]
    with transaction.atomic():
        locked = Dataset.objects.select_for_update().get(pk=dataset.pk)
        before = locked.expectations
        if before != rows:
            Dataset.objects.filter(pk=locked.pk).update(expectations=rows)
            audit.record(
                actor=actor,
                action="dataset.set_expectations",
                obj=locked,
                before={FIELD: before},
                after={FIELD: rows},
            )
    dataset.expectations = rows
    return dataset


def merge_expectations(actor: Actor, project: Project, name: str, spec: BaseModel) -> BaseModel:
    """The spec of a job that registers in the dataset `name`, with what that dataset expects.

    Raises Invalid where it demands a check that this kind of job cannot make.
    """
    dataset = find_cleared_dataset(actor, project, name, "/register/dataset")
    changes: dict[str, Any] = {}
    if isinstance(spec, ProfileSpec):
        changes["on_failure"] = "fail"  # what is registered must hold
    if dataset is not None and dataset.expectations:
        if FIELD not in type(spec).model_fields:
            if is_check_required(dataset):
                raise build_unchecked_error(dataset, "/register/dataset")
            return spec
        own = list(getattr(spec, FIELD))
        merged = own + [each for each in load_expectations(dataset) if each not in own]
        if len(merged) > MAX_EXPECTATIONS:
            raise Invalid(
                "With those of {dataset} there are {count} expectations.",
                dataset=dataset,
                count=len(merged),
                field=f"/spec/{FIELD}",
                limit=f"{MAX_EXPECTATIONS} expectations",
                hint=N_("Leave out those that the dataset has."),
            )
        changes[FIELD] = merged
    return spec.model_copy(update=changes) if changes else spec


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """A table that keeps these expectations, as the dataset has them, but for `unmet` that only warn.

    `warnings` are sentences on those, and on how the table was read.
    """

    digest: str
    media_type: str
    expectations: Sequence[Mapping[str, Any]]
    unmet: int = 0
    warnings: Sequence[str] = ()

    def is_of(self, files: Iterable[VersionFile]) -> bool:
        """Whether this is the main table of these files, read so; of a table of parts, whether it is this one."""
        rows = list(files)
        if is_table_of_parts(rows):
            return (sha256_hex(render_manifest(rows)), PARQUET) == (self.digest, self.media_type)
        table = find_main_table(rows)
        return table is not None and (table[1].digest, table[2]) == (self.digest, self.media_type)


def require_checked(
    dataset: Dataset, job_id: int | None, checked: CheckedTable | None = None, files: Iterable[VersionFile] = ()
) -> None:
    """Raise Conflict for a version that nothing has checked, of a dataset that demands it; the dataset's row is locked.

    What was checked while somebody waited counts if it is what the dataset expects now.
    """
    if job_id is not None or not is_check_required(dataset):
        return
    if checked is None or not checked.is_of(files):
        raise build_unchecked_error(dataset, "dataset")
    if list(checked.expectations) != list(dataset.expectations):
        raise Conflict(
            "What {dataset_name} expects was changed while this was checked.",
            dataset_name=dataset.name,
            code="expectations_changed",
            field="dataset",
            hint=N_("Send or push it again: it is checked against what is expected now."),
        )


UNCHECKED_HINT = Message(
    "Upload the table to this dataset, by its page or by REST; or give the digest of one "
    "that was pushed (git lfs ls-files --long) to a job of the kind profile that registers "
    "here. It makes the version if all holds; then git pull --rebase."
)


def build_unchecked_error(dataset: Dataset, field: str) -> Conflict:
    return Conflict(
        "The dataset {dataset_name} takes only versions that a job has checked.",
        dataset_name=dataset.name,
        code="expectations_unchecked",
        field=field,
        hint=UNCHECKED_HINT,
    )

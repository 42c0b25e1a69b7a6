"""The dataset version that holds a language model's base, as inputs of a job: a file each, below the slot's name."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.queries import get_version, list_files
from apps.data.datasets.versions.script_data import MAX_FILES, VERSION, build_data_slot, build_reference_error
from apps.platform.accounts.models import Project
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec
from deepseek.language.spec import BASE, BASE_FILES, LanguageSpec, MergeSpec
from deepseek.messages import Message


def resolve_base_model(actor: Actor, project: Project, spec: BaseModel) -> list[InputSpec]:
    """One input for each file of the version that the spec names; none where it names none.

    Raises Invalid for a version that is not there, one of too many files, or one that is no base model's folder.
    """
    assert isinstance(spec, LanguageSpec | MergeSpec)  # noqa: S101 - registered for these kinds
    if not spec.base:
        return []
    name, _, number = spec.base.partition(":")
    where = f"/spec/{BASE}"
    try:
        version = get_version(actor, project, name, VERSION.sub(r"\1", number))
        files = list_files(actor, version)
    except PlaneError as failure:
        raise combine_errors([build_reference_error("data_unknown", failure.message, where)]) from failure
    if len(files) > MAX_FILES:
        message = Message("The versions have {count} files together.", count=len(files))
        raise combine_errors([build_reference_error("too_many_files", message, where, limit=MAX_FILES)])
    paths = {file.path for file in files}
    missing = [path for path in BASE_FILES if path not in paths]
    if missing:
        raise combine_errors([build_missing_file_error(spec.base, missing[0], where)])
    return [InputSpec(slot=build_data_slot(BASE, file.path), digest=file.artifact_id) for file in files]


def build_missing_file_error(reference: str, path: str, where: str) -> dict[str, Any]:
    return {
        "code": "base_unreadable",
        "message": Message("{name} cannot be a base model: it has no {file}.", name=reference, file=path),
        "field": where,
        "limit": ", ".join(BASE_FILES),
        "hint": Message("Ingest the folder of the base model as it was published, with its files at the top."),
    }

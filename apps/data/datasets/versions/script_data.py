"""The dataset versions that the spec of a script names, as inputs of its job: its data, and its code."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel

from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.queries import get_version, list_files
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import SLOT_LIMIT
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec
from deepseek.messages import Message
from deepseek.script.spec import CODE, ScriptSpec

VERSION = re.compile("^v([0-9]+)$")
MAX_FILES = 20_000  # of all versions of one job


def resolve_script_data(actor: Actor, project: Project, spec: BaseModel) -> list[InputSpec]:
    """One input for each file of each version; its slot is where the script finds it: NAME/path below $DATA, code/path.

    Raises Invalid with every version that is not there, a dataset that is named twice, or too many files.
    """
    assert isinstance(spec, ScriptSpec)  # noqa: S101 - registered for this kind
    inputs: list[InputSpec] = []
    errors: list[dict[str, Any]] = []
    names: set[str] = set()
    references = [(f"/spec/data/{index}", reference) for index, reference in enumerate(spec.data)]
    references += [("/spec/code", spec.code)] if spec.code else []
    for where, reference in references:
        name, _, number = reference.partition(":")
        is_code = where == "/spec/code"
        if name in names and not is_code:
            message = Message("The dataset {name} is named twice.", name=name[:60])
            errors.append(build_reference_error("duplicate_data", message, where))
            continue
        names.add(name)
        try:
            version = get_version(actor, project, name, VERSION.sub(r"\1", number))
            files = list_files(actor, version)
        except PlaneError as failure:
            errors.append(build_reference_error("data_unknown", failure.message, where))
            continue
        folder = CODE if is_code else name
        inputs += [InputSpec(slot=build_data_slot(folder, file.path), digest=file.artifact_id) for file in files]
    if len(inputs) > MAX_FILES:
        message = Message("The versions have {count} files together.", count=len(inputs))
        errors.append(build_reference_error("too_many_files", message, "/spec/data", limit=MAX_FILES))
    if errors:
        raise combine_errors(errors)
    return inputs


def build_reference_error(code: str, message: str, where: str, limit: Any = "NAME:vN") -> dict[str, Any]:
    hint = Message("List the versions there are: deepseek data ls, or the page of the dataset.")
    return {"code": code, "message": message, "field": where, "limit": limit, "hint": hint}


def build_data_slot(name: str, path: str) -> str:
    """NAME/path; where that is longer than a slot may be, the name of the file is cut and a digest of it added."""
    slot = f"{name}/{path}"
    if len(slot) <= SLOT_LIMIT:
        return slot
    ending = f"-{sha256(path.encode()).hexdigest()[:8]}{PurePosixPath(path).suffix[:10]}"
    return f"{name}/{PurePosixPath(path).stem}"[: SLOT_LIMIT - len(ending)] + ending

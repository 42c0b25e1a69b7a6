"""Compare the inputs of two runs: spec, data, code and environment. Reads the two rows and the specs of their jobs.

An input bears on the result: spec, data, code, versions, processor, threads. A circumstance is told beside it: which
node it was, how many attempts it took.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from apps.core.canonical import sha256_hex
from apps.ml.experiments.models import Run, RunParam

TEXT_LIMIT = 200  # characters of a value that is told; a list of columns may be long
PARAMS = 2000  # of a run without a job, that are read


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not the same; `name` is the field of the spec, the slot, the package. "" is: not recorded."""

    kind: str  # spec | data | code | package | python | platform | processor | threads | gpu | node | attempts ...
    name: str
    was: str
    now: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def list_differing_inputs(was: Run, now: Run) -> list[Difference]:
    """List the differing inputs that affect the result: spec, data, code, then environment."""
    return [*compare_specs(was, now), *compare_data(was, now), *compare_code(was, now), *compare_environments(was, now)]


def list_circumstances(was: Run, now: Run) -> list[Difference]:
    """List the differences that should not affect the result."""
    pairs = [
        (key, format_value(was.environment.get(key)), format_value(now.environment.get(key)))
        for key in ("node", "cpus")
    ]
    pairs.append(
        ("memory", format_value(was.environment.get("memory_bytes")), format_value(now.environment.get("memory_bytes")))
    )
    # A later attempt goes on from a checkpoint; what the earlier ones ran on was not kept.
    pairs.append(("attempts", str(was.attempt or ""), str(now.attempt or "")))
    return [Difference(kind, "", before, after) for kind, before, after in pairs if before != after]


def list_unrecorded(*runs: Run) -> list[str]:
    """What of the inputs at least one of these runs did not record: of that nothing can be said."""
    lacking = set()
    for run in runs:
        lacking |= {"spec"} if run.job_id is None else set()
        lacking |= {"code"} if not run.code_digest else set()
        lacking |= {"data"} if run.job_id is None and not run.inputs else set()
        lacking |= {"environment"} if not run.environment.get("packages") else set()
    return sorted(lacking)


def compare_specs(before: Run, now: Run) -> list[Difference]:
    """Field by field; of a run without a job its params stand for the spec."""
    if before.spec_digest and before.spec_digest == now.spec_digest:
        return []
    return list_differences("spec", get_spec(before), get_spec(now))


def compare_data(was: Run, now: Run) -> list[Difference]:
    return list_differences("data", was.inputs, now.inputs)


def compare_code(was: Run, now: Run) -> list[Difference]:
    return list_differences("code", {"": was.code_digest}, {"": now.code_digest})


def compare_environments(was: Run, now: Run) -> list[Difference]:
    before, after = was.environment, now.environment
    return [
        *list_differences("python", {"": before.get("python")}, {"": after.get("python")}),
        *list_differences("package", before.get("packages") or {}, after.get("packages") or {}),
        *list_differences("platform", {"": before.get("platform")}, {"": after.get("platform")}),
        *list_differences("processor", {"": before.get("processor")}, {"": after.get("processor")}),
        *list_differences("threads", {"": before.get("threads")}, {"": after.get("threads")}),
        *list_differences("image", {"": get_image_digest(before)}, {"": get_image_digest(after)}),
        *list_differences("gpu", get_gpus(before), get_gpus(after)),
    ]


def get_image_digest(environment: Mapping[str, Any]) -> str:
    """Of the image that a script ran in; empty: it ran in none. Its name says nothing of what is in it."""
    image = environment.get("image")
    return str(image.get("digest", "")) if isinstance(image, dict) else ""


def get_gpus(environment: Mapping[str, Any]) -> dict[str, str]:
    """{"0": name and driver}: which card of the node it was does not matter, what it is does."""
    gpus = [f"{gpu.get('name', '')} ({gpu.get('driver', '')})" for gpu in environment.get("gpus") or ()]
    return {str(place): gpu for place, gpu in enumerate(gpus)}


def list_differences(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*before, *after])
    texts = ((name, format_value(before.get(name)), format_value(after.get(name))) for name in names)
    return [Difference(kind, name, old_text, new_text) for name, old_text, new_text in texts if old_text != new_text]


def format_value(value: Any) -> str:
    """A recorded value as text; nothing is "". A long one ends in its digest, so that two that differ read so."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… sha256:{sha256_hex(text)[:12]}"


def get_spec(run: Run) -> dict[str, Any]:
    """The spec as flat fields: {"schedule.max_lr": 0.001}."""
    if run.job is not None:
        return dict(iter_fields(json.loads(run.job.spec)))
    return dict(RunParam.objects.filter(run=run).order_by("key").values_list("key", "value")[:PARAMS])


def iter_fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not path):
        for name in value:
            yield from iter_fields(value[name], f"{path}.{name}" if path else name)
    else:
        yield path, json.dumps(value, ensure_ascii=False) if value is None else value

"""What two runs were made of and on, and in what of it they differ. Reads the two rows and the specs of their jobs.

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


def differing_inputs(was: Run, now: Run) -> list[Difference]:
    """What bears on the result and differs: the spec first, then data, code, and what it ran on."""
    return [*spec_differences(was, now), *data_differences(was, now), *code_differences(was, now), *ran_on(was, now)]


def circumstances(was: Run, now: Run) -> list[Difference]:
    """What differs and should not matter."""
    pairs = [(key, told(was.environment.get(key)), told(now.environment.get(key))) for key in ("node", "cpus")]
    pairs.append(("memory", told(was.environment.get("memory_bytes")), told(now.environment.get("memory_bytes"))))
    # A later attempt goes on from a checkpoint; what the earlier ones ran on was not kept.
    pairs.append(("attempts", str(was.attempt or ""), str(now.attempt or "")))
    return [Difference(kind, "", before, after) for kind, before, after in pairs if before != after]


def unrecorded(*runs: Run) -> list[str]:
    """What of the inputs at least one of these runs did not record: of that nothing can be said."""
    lacking = set()
    for run in runs:
        lacking |= {"spec"} if run.job_id is None else set()
        lacking |= {"code"} if not run.code_digest else set()
        lacking |= {"data"} if run.job_id is None and not run.inputs else set()
        lacking |= {"environment"} if not run.environment.get("packages") else set()
    return sorted(lacking)


def spec_differences(was: Run, now: Run) -> list[Difference]:
    """Field by field; of a run without a job its params stand for the spec."""
    if was.spec_digest and was.spec_digest == now.spec_digest:
        return []
    return differing("spec", spec_of(was), spec_of(now))


def data_differences(was: Run, now: Run) -> list[Difference]:
    return differing("data", was.inputs, now.inputs)


def code_differences(was: Run, now: Run) -> list[Difference]:
    return differing("code", {"": was.code_digest}, {"": now.code_digest})


def ran_on(was: Run, now: Run) -> list[Difference]:
    before, after = was.environment, now.environment
    return [
        *differing("python", {"": before.get("python")}, {"": after.get("python")}),
        *differing("package", before.get("packages") or {}, after.get("packages") or {}),
        *differing("platform", {"": before.get("platform")}, {"": after.get("platform")}),
        *differing("processor", {"": before.get("processor")}, {"": after.get("processor")}),
        *differing("threads", {"": before.get("threads")}, {"": after.get("threads")}),
        *differing("gpu", gpus_of(before), gpus_of(after)),
    ]


def gpus_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """{"0": name and driver}: which card of the node it was does not matter, what it is does."""
    held = [f"{gpu.get('name', '')} ({gpu.get('driver', '')})" for gpu in environment.get("gpus") or ()]
    return {str(place): gpu for place, gpu in enumerate(held)}


def differing(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    names = dict.fromkeys([*before, *after])
    rows = ((name, told(before.get(name)), told(after.get(name))) for name in names)
    return [Difference(kind, name, was, now) for name, was, now in rows if was != now]


def told(value: Any) -> str:
    """A recorded value as text; nothing is "". A long one ends in its digest, so that two that differ read so."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… sha256:{sha256_hex(text)[:12]}"


def spec_of(run: Run) -> dict[str, Any]:
    """The spec as flat fields: {"schedule.max_lr": 0.001}."""
    if run.job is not None:
        return dict(fields_in(json.loads(run.job.spec)))
    return dict(RunParam.objects.filter(run=run).order_by("key").values_list("key", "value")[:PARAMS])


def fields_in(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and (value or not path):
        for name in value:
            yield from fields_in(value[name], f"{path}.{name}" if path else name)
    else:
        yield path, json.dumps(value, ensure_ascii=False) if value is None else value

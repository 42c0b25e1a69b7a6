"""Compares what two versions of a model take and give: a swap must not surprise those who ask."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from deepseek.job import EngineError
from deepseek.models.manifest import ModelManifest

MAX_DIFFERENCES = 20


def compare_signatures(current: ModelManifest, candidate: ModelManifest) -> list[EngineError]:
    """What is different for a client, field by field; nothing if the candidate may take the place of the current."""
    differences = [
        *_compare_value("/task", current.task, candidate.task),
        *_compare_list("/features", current.features, candidate.features),
        *_compare_list("/classes", current.classes, candidate.classes),
    ]
    for name in sorted({*current.categories, *candidate.categories}):
        kinds = (_say(name in current.categories), _say(name in candidate.categories))
        differences += _compare_value(f"/categories/{name}", *kinds)
    mine, theirs = current.signature.model_dump(mode="json"), candidate.signature.model_dump(mode="json")
    for side in ("inputs", "outputs"):
        differences += _compare_list(f"/signature/{side}", mine[side], theirs[side])
    return differences[:MAX_DIFFERENCES]


def _say(is_category: bool) -> str:
    return "a category" if is_category else "a number"


def _compare_list(field: str, current: Sequence[Any], candidate: Sequence[Any]) -> Iterator[EngineError]:
    if len(current) != len(candidate):
        yield _build_error(field, f"{len(current)} entries", f"{len(candidate)} entries")
    for place, (mine, theirs) in enumerate(zip(current, candidate, strict=False)):
        yield from _compare_value(f"{field}/{place}", mine, theirs)


def _compare_value(field: str, current: Any, candidate: Any) -> Iterator[EngineError]:
    if current != candidate:
        yield _build_error(field, _quote(current), _quote(candidate))


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:200]


def _build_error(field: str, current: str, candidate: str) -> EngineError:
    return EngineError(
        "signature_differs",
        f"The new version has {candidate} at {field}, and the one that is served has {current}.",
        field=field,
        value=candidate,
        limit=current,
        hint="Serve it under another name, and let its clients move over.",
    )

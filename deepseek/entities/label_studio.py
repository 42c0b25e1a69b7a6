"""Tasks of a Label Studio export as texts with spans."""

from collections.abc import Iterator
from typing import Any

from deepseek.entities.faults import TextFault, build_text_fault

Record = dict[str, Any] | TextFault


def iterate_tasks(tasks: list[Any]) -> Iterator[tuple[int, Record]]:
    """(place of the task from 1, record) of each task that somebody annotated, by its first annotation that stands."""
    for number, task in enumerate(tasks, 1):
        try:
            record = _read_task(number, task)
        except TextFault as fault:
            yield number, fault
        else:
            if record is not None:
                yield number, record


def _read_task(number: int, task: Any) -> dict[str, Any] | None:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise build_text_fault("text_unreadable", number, "a task without data", "a task of Label Studio")
    annotations = task.get("annotations") or []
    standing = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    if not standing:
        return None
    results = standing[0].get("result") or []
    texts = [value for value in (data.get("text"), *data.values()) if isinstance(value, str)]
    if not texts:
        raise build_text_fault("text_unreadable", number, "a task without a text", "data with a text")
    return {"text": texts[0], "spans": [_read_result(number, result, texts[0]) for result in results if _marks(result)]}


def _marks(result: Any) -> bool:
    return isinstance(result, dict) and result.get("type") == "labels"


def _read_result(number: int, result: dict[str, Any], text: str) -> dict[str, Any]:
    """A region as a span. Browsers count in UTF-16: where the quoted text tells so, the offsets are converted."""
    value = result.get("value")
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(labels, list) or len(labels) != 1:
        raise build_text_fault("text_unreadable", number, "a region without one label", "a region with one label")
    span = {"start": value.get("start"), "end": value.get("end"), "label": labels[0]}
    quoted, start, end = value.get("text"), span["start"], span["end"]
    if isinstance(quoted, str) and isinstance(start, int) and isinstance(end, int) and text[start:end] != quoted:
        units = text.encode("utf-16-le")
        before, marked = units[: 2 * start], units[2 * start : 2 * end]
        if marked.decode("utf-16-le", "replace") == quoted:
            start = len(before.decode("utf-16-le", "replace"))
            return span | {"start": start, "end": start + len(quoted)}
    return span if quoted is None else span | {"text": quoted}

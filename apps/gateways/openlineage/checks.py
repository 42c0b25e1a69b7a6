"""Validate an event (OpenLineage 2-0-2), each fault with its JSON pointer. By hand: no schema is fetched.

Facets are open by the standard, and clients are newer or older than this: of a facet only `_producer` and `_schemaURL`
are looked at, and that an unknown one is stored is the rule, not the exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from apps.core.errors import Invalid
from deepseek.messages import Message

EVENT_TYPES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
RUN, JOB, DATASET = "RunEvent", "JobEvent", "DatasetEvent"
MAX_TEXT_CHARS = 2000  # characters of a namespace, a name, a version, an address
MAX_ITEMS = 1000  # datasets of one side; facets of one object
MAX_FAULTS = 50  # told of one event

MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+", re.ASCII)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Fault = dict[str, Any]


def check_event(event: Any) -> str:
    """The kind of a valid event: RunEvent, JobEvent or DatasetEvent. Raises Invalid with every fault it has."""
    if not isinstance(event, Mapping):
        raise Invalid("An event is a JSON object.", field="", limit="an object")
    kind = get_event_kind(event)
    faults = []
    for fault in iter_faults(event, kind):
        faults.append(fault)
        if len(faults) == MAX_FAULTS:
            break
    if faults:
        raise Invalid(faults[0]["message"], field=faults[0]["field"], limit=faults[0]["limit"], errors=faults)
    return kind


def get_event_kind(event: Mapping[str, Any]) -> str:
    if "run" in event:
        return RUN
    return JOB if "job" in event else DATASET


def iter_faults(event: Mapping[str, Any], kind: str) -> Iterator[Fault]:
    if not isinstance(event.get("eventTime"), str) or parse_time(event["eventTime"]) is None:
        yield build_fault("/eventTime", event.get("eventTime"), "a date and time of RFC 3339 with its offset")
    yield from iter_uri_faults("/producer", event.get("producer"))
    yield from iter_uri_faults("/schemaURL", event.get("schemaURL"))
    if kind == DATASET:
        if "dataset" not in event:
            yield build_fault("/run", None, "a run with its job, a job alone, or a dataset alone")
        else:
            yield from iter_dataset_faults("/dataset", event["dataset"])
        return
    if kind == RUN:
        yield from iter_run_faults(event)
    yield from iter_named_faults("/job", event.get("job"))
    for side in ("inputs", "outputs"):
        yield from iter_side_faults(f"/{side}", event.get(side))


def iter_run_faults(event: Mapping[str, Any]) -> Iterator[Fault]:
    if event.get("eventType") is not None and event["eventType"] not in EVENT_TYPES:
        yield build_fault("/eventType", event["eventType"], ", ".join(EVENT_TYPES))
    run = event["run"]
    if not isinstance(run, Mapping):
        yield build_fault("/run", run, "an object")
        return
    if not isinstance(run.get("runId"), str) or not UUID.fullmatch(run["runId"]):
        yield build_fault("/run/runId", run.get("runId"), "a UUID")
    yield from iter_facet_faults("/run/facets", run.get("facets"))


def iter_named_faults(pointer: str, value: Any) -> Iterator[Fault]:
    """A job or a dataset: its names and facets."""
    if not isinstance(value, Mapping):
        yield build_fault(pointer, value, "an object with namespace and name")
        return
    for name in ("namespace", "name"):
        text = value.get(name)
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT_CHARS:
            yield build_fault(f"{pointer}/{name}", text, f"a text of 1 to {MAX_TEXT_CHARS} characters")
    yield from iter_facet_faults(f"{pointer}/facets", value.get("facets"))


def iter_side_faults(pointer: str, value: Any) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        yield build_fault(pointer, value, f"a list of at most {MAX_ITEMS} datasets")
        return
    for index, dataset in enumerate(value):
        yield from iter_dataset_faults(f"{pointer}/{index}", dataset)


def iter_dataset_faults(pointer: str, value: Any) -> Iterator[Fault]:
    yield from iter_named_faults(pointer, value)
    if isinstance(value, Mapping):
        for name in ("inputFacets", "outputFacets"):
            yield from iter_facet_faults(f"{pointer}/{name}", value.get(name))
        version = get_dataset_version(value)
        if len(version) > MAX_TEXT_CHARS:
            yield build_fault(
                f"{pointer}/facets/version/datasetVersion", version, f"a text of at most {MAX_TEXT_CHARS} characters"
            )


def iter_facet_faults(pointer: str, value: Any) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
        yield build_fault(pointer, value, f"an object of at most {MAX_ITEMS} facets")
        return
    for name, facet in value.items():
        facet_pointer = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
        if not isinstance(facet, Mapping):
            yield build_fault(facet_pointer, facet, "an object")
            continue
        yield from iter_uri_faults(f"{facet_pointer}/_producer", facet.get("_producer"))
        yield from iter_uri_faults(f"{facet_pointer}/_schemaURL", facet.get("_schemaURL"))


def iter_uri_faults(pointer: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS or not URI.fullmatch(value):
        yield build_fault(pointer, value, "an absolute URI")


def parse_time(text: str) -> datetime | None:
    """The time that a text of RFC 3339 says; None for none."""
    if not MOMENT.fullmatch(text) or len(text) > 64:
        return None
    seconds, _, rest = text.partition(".")
    digits = re.match(r"\d+", rest)
    if digits:  # Python reads six digits of a second at most
        rest = rest[digits.end() :]
        text = f"{seconds}.{digits[0][:6].ljust(6, '0')}{rest}"
    try:
        time = datetime.fromisoformat(text.upper())
        return time if 1 < time.year < 9999 else None
    except ValueError:
        return None


def get_dataset_version(dataset: Mapping[str, Any]) -> str:
    """What the version facet of a dataset says; "" without one."""
    facets = dataset.get("facets")
    facet = facets.get("version") if isinstance(facets, Mapping) else None
    version = facet.get("datasetVersion") if isinstance(facet, Mapping) and not facet.get("_deleted") else None
    return version if isinstance(version, str) else ""


def build_fault(pointer: str, value: Any, limit: str) -> Fault:
    problem = Message("is missing") if value is None else Message("is {value!r}", value=str(value)[:60])
    return {
        "code": "invalid",
        "message": Message("{place} {told}.", place=pointer or Message("The event"), told=problem),
        "field": pointer,
        "limit": limit,
        "hint": Message("See docs/lineage.md, and the standard: OpenLineage 2-0-2."),
    }

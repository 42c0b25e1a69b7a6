"""What an event must hold (OpenLineage 2-0-2), each fault with its JSON pointer. By hand: no schema is fetched.

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
TEXT = 2000  # characters of a namespace, a name, a version, an address
MANY = 1000  # datasets of one side; facets of one object
FAULTS = 50  # told of one event

MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+", re.ASCII)
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

Fault = dict[str, Any]


def check_event(event: Any) -> str:
    """The kind of a valid event: RunEvent, JobEvent or DatasetEvent. Raises Invalid with every fault it has."""
    if not isinstance(event, Mapping):
        raise Invalid("An event is a JSON object.", field="", limit="an object")
    kind = kind_of(event)
    found = []
    for fault in faults_of(event, kind):
        found.append(fault)
        if len(found) == FAULTS:
            break
    if found:
        raise Invalid(found[0]["message"], field=found[0]["field"], limit=found[0]["limit"], errors=found)
    return kind


def kind_of(event: Mapping[str, Any]) -> str:
    if "run" in event:
        return RUN
    return JOB if "job" in event else DATASET


def faults_of(event: Mapping[str, Any], kind: str) -> Iterator[Fault]:
    if not isinstance(event.get("eventTime"), str) or moment(event["eventTime"]) is None:
        yield fault("/eventTime", event.get("eventTime"), "a date and time of RFC 3339 with its offset")
    yield from uri("/producer", event.get("producer"))
    yield from uri("/schemaURL", event.get("schemaURL"))
    if kind == DATASET:
        if "dataset" not in event:
            yield fault("/run", None, "a run with its job, a job alone, or a dataset alone")
        else:
            yield from dataset_faults("/dataset", event["dataset"])
        return
    if kind == RUN:
        yield from run_faults(event)
    yield from named("/job", event.get("job"))
    for side in ("inputs", "outputs"):
        yield from side_faults(f"/{side}", event.get(side))


def run_faults(event: Mapping[str, Any]) -> Iterator[Fault]:
    if event.get("eventType") is not None and event["eventType"] not in EVENT_TYPES:
        yield fault("/eventType", event["eventType"], ", ".join(EVENT_TYPES))
    run = event["run"]
    if not isinstance(run, Mapping):
        yield fault("/run", run, "an object")
        return
    if not isinstance(run.get("runId"), str) or not UUID.fullmatch(run["runId"]):
        yield fault("/run/runId", run.get("runId"), "a UUID")
    yield from facet_faults("/run/facets", run.get("facets"))


def named(place: str, value: Any) -> Iterator[Fault]:
    """A job or a dataset: its names and facets."""
    if not isinstance(value, Mapping):
        yield fault(place, value, "an object with namespace and name")
        return
    for name in ("namespace", "name"):
        text = value.get(name)
        if not isinstance(text, str) or not 1 <= len(text) <= TEXT:
            yield fault(f"{place}/{name}", text, f"a text of 1 to {TEXT} characters")
    yield from facet_faults(f"{place}/facets", value.get("facets"))


def side_faults(place: str, value: Any) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MANY:
        yield fault(place, value, f"a list of at most {MANY} datasets")
        return
    for index, one in enumerate(value):
        yield from dataset_faults(f"{place}/{index}", one)


def dataset_faults(place: str, value: Any) -> Iterator[Fault]:
    yield from named(place, value)
    if isinstance(value, Mapping):
        for name in ("inputFacets", "outputFacets"):
            yield from facet_faults(f"{place}/{name}", value.get(name))
        version = version_in(value)
        if len(version) > TEXT:
            yield fault(f"{place}/facets/version/datasetVersion", version, f"a text of at most {TEXT} characters")


def facet_faults(place: str, value: Any) -> Iterator[Fault]:
    if value is None:
        return
    if not isinstance(value, Mapping) or len(value) > MANY:
        yield fault(place, value, f"an object of at most {MANY} facets")
        return
    for name, facet in value.items():
        here = f"{place}/{str(name).replace('~', '~0').replace('/', '~1')}"
        if not isinstance(facet, Mapping):
            yield fault(here, facet, "an object")
            continue
        yield from uri(f"{here}/_producer", facet.get("_producer"))
        yield from uri(f"{here}/_schemaURL", facet.get("_schemaURL"))


def uri(place: str, value: Any) -> Iterator[Fault]:
    if not isinstance(value, str) or len(value) > TEXT or not URI.fullmatch(value):
        yield fault(place, value, "an absolute URI")


def moment(text: str) -> datetime | None:
    """The time that a text of RFC 3339 says; None for none."""
    if not MOMENT.fullmatch(text) or len(text) > 64:
        return None
    whole, _, rest = text.partition(".")
    digits = re.match(r"\d+", rest)
    if digits:  # Python reads six digits of a second at most
        rest = rest[digits.end() :]
        text = f"{whole}.{digits[0][:6].ljust(6, '0')}{rest}"
    try:
        found = datetime.fromisoformat(text.upper())
        return found if 1 < found.year < 9999 else None
    except ValueError:
        return None


def version_in(dataset: Mapping[str, Any]) -> str:
    """What the version facet of a dataset says; "" without one."""
    facets = dataset.get("facets")
    facet = facets.get("version") if isinstance(facets, Mapping) else None
    version = facet.get("datasetVersion") if isinstance(facet, Mapping) and not facet.get("_deleted") else None
    return version if isinstance(version, str) else ""


def fault(place: str, value: Any, limit: str) -> Fault:
    told = Message("is missing") if value is None else Message("is {value!r}", value=str(value)[:60])
    return {
        "code": "invalid",
        "message": Message("{place} {told}.", place=place or Message("The event"), told=told),
        "field": place,
        "limit": limit,
        "hint": Message("See docs/lineage.md, and the standard: OpenLineage 2-0-2."),
    }

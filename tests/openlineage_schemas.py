"""What the classes of openlineage-python, which are made from the standard's schemas, say of an event of ours.

No schema file is shipped with the package or with us: the classes name the fields, which are required, and their types.
"""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing
from datetime import datetime
from enum import Enum
from uuid import UUID

import attr
from openlineage.client import event_v2, generated
from openlineage.client.generated import base


def classes() -> dict[str, type]:
    """{schema URL: class} of every facet and event that the package knows."""
    found = {}
    for info in pkgutil.iter_modules(generated.__path__, f"{generated.__name__}."):
        for one in vars(importlib.import_module(info.name)).values():
            if isinstance(one, type) and attr.has(one) and hasattr(one, "_get_schema"):
                found[one._get_schema()] = one
    return found


KNOWN = classes()


def check(event: dict) -> None:
    """Raise AssertionError with the place of what the standard does not have."""
    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    UUID(event["run"]["runId"])
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["eventType"] in base.EventType.__members__
    base.BaseEvent(eventTime=event["eventTime"], producer=event["producer"])  # its validators read URIs and times
    facets(event["run"], "run")
    facets(event["job"], "job")
    for side in ("inputs", "outputs"):
        for index, one in enumerate(event[side]):
            assert one["namespace"]
            assert one["name"]
            facets(one, f"{side}/{index}")


def facets(owner: dict, place: str) -> None:
    for group in ("facets", "inputFacets", "outputFacets"):
        for name, told in owner.get(group, {}).items():
            cls = KNOWN.get(told["_schemaURL"])
            if cls is None:  # our own: named with a prefix, under a schema of its own
                assert "_" in name
                assert told["_schemaURL"].startswith("urn:")
                assert told["_producer"]
            else:
                fields(cls, told, f"{place}/{group}/{name}")


def fields(cls: type, told: dict, place: str) -> None:
    hints = typing.get_type_hints(cls)
    known = attr.fields_dict(cls)
    assert set(told) <= set(known), (place, set(told) - set(known))
    for name, one in known.items():
        if name in told:
            value(hints[name], told[name], f"{place}/{name}")
        else:
            assert one.default is not attr.NOTHING, (place, name, "is missing")


def value(hint, told, place: str) -> None:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        errors = []
        for one in inner:
            try:
                value(one, told, place)
            except AssertionError as error:
                errors.append(error)
            else:
                return
        raise AssertionError(place, told, errors)
    if origin is list:
        assert isinstance(told, list), (place, told)
        for one in told:
            value(inner[0], one, place)
    elif origin is dict:
        assert isinstance(told, dict), (place, told)
        for one in told.values():
            value(inner[1], one, place)
    elif hint is typing.Any:
        pass
    elif hint is type(None):
        assert told is None, (place, told)
    elif isinstance(hint, type) and attr.has(hint):
        assert isinstance(told, dict), (place, told)
        fields(hint, told, place)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        assert told in {one.value for one in hint}, (place, told)
    else:
        right = (int, float) if hint is float else hint
        assert isinstance(told, right), (place, told, hint)
        assert not (isinstance(told, bool) and hint is not bool), (place, told)

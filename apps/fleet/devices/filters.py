"""The query of a group or a list of devices: `state = 'active' AND tag.site = 'berlin' AND attribute.os LIKE 'deb%'`.

The grammar is that of the plane's other searches. What comes out are conditions of the ORM, so that a query can be a
part of another: rollouts select devices by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import F, Q
from django.db.models.lookups import Lookup

from apps.fleet.devices.models import DeviceLabel, DeviceQuerySet, DeviceTelemetry, LabelKind
from apps.fleet.devices.states import Architecture, DeviceKind, DeviceState, Health
from apps.ml.experiments.filters.grammar import ATTRIBUTE, TAG, Comparison, FilterError, Vocabulary, parse
from apps.ml.experiments.filters.sql import build_ilike, build_like
from apps.ml.experiments.filters.vocabularies import map_to_themselves
from deepseek.messages import N_, Message

DEVICE_ATTRIBUTE = "device attribute"  # what a device says of itself
MAX_QUERY_CHARACTERS = 2_000
MAX_COMPARISONS = 20
COLUMNS = {
    "name": "name",
    "state": "state",
    "kind": "kind",
    "architecture": "architecture",
    "agent_version": "agent_version",
    "health": "health",  # of the telemetry
}
CHOICES: dict[str, list[str]] = {
    "state": DeviceState.values,
    "kind": DeviceKind.values,
    "architecture": Architecture.values,
    "health": Health.values,
}
VOCABULARY = Vocabulary(
    kinds={
        "device": ATTRIBUTE,
        **dict.fromkeys(("tag", "tags"), TAG),
        **dict.fromkeys(("attribute", "attributes", "attr"), DEVICE_ATTRIBUTE),
    },
    attributes=map_to_themselves(COLUMNS),
    listed=frozenset(COLUMNS),
    listed_kinds=frozenset({TAG, DEVICE_ATTRIBUTE}),
    nullable=frozenset({TAG, DEVICE_ATTRIBUTE}),
    bare=True,
    kind_text="There is no {word!r}. Compare name, state, kind, architecture, health, agent_version, tag.KEY or"
    " attribute.KEY.",
)
KINDS = {TAG: LabelKind.TAG, DEVICE_ATTRIBUTE: LabelKind.ATTRIBUTE}


class PatternLookup(Lookup):
    """`LIKE` or `ILIKE` as the other searches have them: the same on both databases."""

    build_pattern_condition: Callable[[str, str], Any]

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        _, (pattern,) = self.process_rhs(compiler, connection)
        condition = type(self).build_pattern_condition(column, str(pattern))
        return condition.text, (*params, *condition.params)


class LikeLookup(PatternLookup):
    lookup_name = "like"
    build_pattern_condition = staticmethod(build_like)


class IlikeLookup(PatternLookup):
    lookup_name = "ilike"
    build_pattern_condition = staticmethod(build_ilike)


def parse_query(text: str, *, field: str = "query") -> tuple[Comparison, ...]:
    """The comparisons of a query, all of which must hold. Raises FilterError (`bad_filter`), which names `field`."""
    try:
        if len(text) > MAX_QUERY_CHARACTERS:
            message = Message(
                "The query has {count} characters, at most {most} are allowed.",
                count=len(text),
                most=MAX_QUERY_CHARACTERS,
            )
            raise FilterError(message, hint=N_("Set a tag on these devices, and ask for that."))
        comparisons = parse(text, VOCABULARY)
        if len(comparisons) > MAX_COMPARISONS:
            raise FilterError(
                Message(
                    "The query has {count} comparisons, at most {most} are allowed.",
                    count=len(comparisons),
                    most=MAX_COMPARISONS,
                ),
                hint=N_("Set a tag on these devices, and ask for that."),
            )
        for comparison in comparisons:
            check_choice(comparison)
    except FilterError as error:
        error.field = field
        raise
    return comparisons


def check_choice(comparison: Comparison) -> None:
    """Raise FilterError for a state, kind, architecture or health that there is none of."""
    choices = CHOICES.get(comparison.key) if comparison.kind == ATTRIBUTE else None
    if choices is None or comparison.operator in ("LIKE", "ILIKE"):
        return
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    wrong = next((value for value in values if value not in choices), None)
    if wrong is not None:
        message = Message("There is no {name} {found!r}.", name=comparison.key, found=str(wrong)[:40])
        raise FilterError(
            message,
            start=comparison.start,
            end=comparison.end,
            hint=Message("Take one of these: {names}.", names=", ".join(choices)),
        )


def filter_devices(rows: DeviceQuerySet, project_id: int, text: str, *, field: str = "query") -> DeviceQuerySet:
    """Those of `rows` that fit the query."""
    for comparison in parse_query(text, field=field):
        rows = rows.filter(build_condition(comparison, project_id))
    return rows


def build_condition(comparison: Comparison, project_id: int) -> Any:
    if comparison.kind == ATTRIBUTE and comparison.key == "health":
        rows = DeviceTelemetry.objects.filter(project_id=project_id)
        return Q(pk__in=rows.filter(build_text_lookup("health", comparison)).values("device_id"))
    if comparison.kind == ATTRIBUTE:
        return build_text_lookup(COLUMNS[comparison.key], comparison)
    labels = DeviceLabel.objects.filter(project_id=project_id, kind=KINDS[comparison.kind], key=comparison.key)
    if comparison.value is not None:
        labels = labels.filter(build_text_lookup("value", comparison))
    has_label = Q(pk__in=labels.values("device_id"))
    return ~has_label if comparison.operator == "IS NULL" else has_label


def build_text_lookup(column: str, comparison: Comparison) -> Any:
    value: Any = comparison.value
    match comparison.operator:
        case "LIKE":
            return LikeLookup(F(column), value)
        case "ILIKE":
            return IlikeLookup(F(column), value)
        case "IN":
            return Q(**{f"{column}__in": value})
        case "NOT IN":
            return ~Q(**{f"{column}__in": value})
        case "!=":
            return ~Q(**{column: value})
    return Q(**{column: value})

"""Autocompletion for the run filter: kinds, keys, operators, values and AND.

The keys and values are those of the newest runs of the project, so that the answer costs the same however many
there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext as _

from apps.core import policy
from apps.core.actors import Actor
from apps.ml.experiments.filters.grammar import ATTRIBUTE, DATASET, METRIC, PARAMETER, TAG, quote_key, quote_value
from apps.ml.experiments.filters.vocabularies import RUNS
from apps.ml.experiments.models import Metric, Run, RunDataset, RunParam, RunTag
from apps.ml.experiments.states import RunState
from apps.platform.accounts.models import Project

NEWEST = 100  # runs whose keys and values are offered
OFFERED = 12
KEYS = 60  # that a list to choose from has
TEXT_LIMIT = 2000  # characters of a filter
WORDS = {METRIC: "metrics", PARAMETER: "params", TAG: "tags", ATTRIBUTE: "attributes", DATASET: "datasets"}
PLAIN = ("run_name", "status", "start_time", "end_time", "user_id", "run_id")  # attributes that stand by themselves
NAME = r"(?P<name>(?:\w+\.)?(?:`[^`]*`|\"[^\"]*\"|[\w./-]+))"
OPERATOR = r"(?P<operator>!=|>=|<=|=|>|<|(?:NOT\s+)?(?:LIKE|ILIKE|IN)\b|IS\s+(?:NOT\s+)?NULL\b)"
WITH_OPERATOR = re.compile(rf"\s*{NAME}\s*{OPERATOR}(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
WITH_NAME = re.compile(rf"\s*{NAME}\s+(?P<partial>(?:[A-Za-z!<>=][A-Za-z!<>= ]*)?)", re.DOTALL)
ENDED = re.compile(r"\s*(?:'[^']*'|\"[^\"]*\"|\([^)]*\)|-?[\d.]+(?:e-?\d+)?)\s+(?P<partial>\w*)", re.IGNORECASE)
AND = re.compile(r"'[^']*'?|\"[^\"]*\"?|`[^`]*`?|(?P<and>\bAND\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Option:
    """One completion: the text that is put in, what is shown, and what it is."""

    text: str
    label: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand in place of the characters `start` to `end`."""

    start: int
    end: int
    options: Sequence[Option]


def complete_filter(actor: Actor, project: Project, text: str, at: int) -> Completion:
    """The completions of what is typed before the character `at`; five queries at most."""
    policy.require(actor, "run.view", project)
    text = replace_unstorable(text[:TEXT_LIMIT])
    at = min(max(at, 0), len(text))
    begin = find_clause_start(text[:at])
    clause = text[begin:at]
    start, options = complete_clause(actor, project, clause)
    return Completion(begin + start, at, list(options)[:OFFERED])


def replace_unstorable(text: str) -> str:
    """As many characters, none of which a database refuses: NUL and lone surrogates are question marks."""
    return text.replace("\x00", "?").encode("utf-8", "replace").decode()


def find_clause_start(text: str) -> int:
    """Where the last comparison begins: behind the last AND that stands in no quotes."""
    return max((match.end() for match in AND.finditer(text) if match["and"]), default=0)


def complete_clause(actor: Actor, project: Project, clause: str) -> tuple[int, Iterable[Option]]:
    """(where what is replaced begins, the options)"""
    if match := WITH_OPERATOR.fullmatch(clause):
        kind, key = split_name(match["name"])
        null = match["operator"].upper().endswith("NULL")
        ended = ENDED.fullmatch(match["rest"])
        if null or ended:
            partial = match["rest"].strip() if null else ended["partial"] if ended else ""
            return len(clause) - len(partial), filter_by_prefix(partial, [Option("AND ", "AND", _("and"))])
        partial = match["rest"].lstrip()
        return len(clause) - len(partial), suggest_values(actor, project, kind, key, partial)
    if (match := WITH_NAME.fullmatch(clause)) and is_known_name(match["name"]):
        kind, key = split_name(match["name"])
        partial = match["partial"]
        options = [Option(f"{name} ", name, _("operator")) for name in RUNS.list_operators(kind, key)]
        return len(clause) - len(partial), filter_by_prefix(partial, options)
    partial = clause.lstrip()
    return len(clause) - len(partial), suggest_names(actor, project, partial)


def filter_by_prefix(partial: str, options: Iterable[Option]) -> list[Option]:
    return [option for option in options if option.label.lower().startswith(partial.strip().lower())]


def is_known_name(name: str) -> bool:
    """Whether it names a kind and a key, or an attribute."""
    word, dot, _key = name.partition(".")
    return word in RUNS.kinds if dot else name in RUNS.attributes


def split_name(name: str) -> tuple[str, str]:
    word, dot, key = name.partition(".")
    if not dot:
        return ATTRIBUTE, RUNS.attributes.get(name, name)
    return RUNS.kinds.get(word, ATTRIBUTE), key.strip('`"')


# -- what there is --------------------------------------------------------------------------------------------------
def list_newest_runs(actor: Actor, project: Project) -> list[str]:
    runs = Run.objects.visible_to(actor).filter(project=project, deleted_at__isnull=True)
    return list(runs.order_by("-started_at", "-id").values_list("pk", flat=True)[:NEWEST])


def suggest_names(actor: Actor, project: Project, partial: str) -> list[Option]:
    """Kinds and attributes for a word; keys for what follows the dot, or that hold the word."""
    word, dot, key = partial.partition(".")
    kind = RUNS.kinds.get(word) if dot else None
    if kind == ATTRIBUTE:
        return filter_by_prefix(key, [Option(f"attributes.{name} ", name, _("attribute")) for name in PLAIN])
    if kind == DATASET:
        return filter_by_prefix(
            key, [Option(f"datasets.{name} ", name, _("dataset")) for name in sorted(RUNS.datasets)]
        )
    if kind is not None:
        return suggest_keys(list_newest_runs(actor, project), kind, key.strip('`"'))
    kinds = [Option(f"{word_of}.", f"{word_of}.", _("kind")) for word_of in WORDS.values()]
    attributes = [Option(f"{name} ", name, _("attribute")) for name in PLAIN]
    options = filter_by_prefix(partial, [*kinds, *attributes])
    if partial and not dot:
        runs = list_newest_runs(actor, project)
        options += [option for kind_of in (METRIC, PARAMETER, TAG) for option in suggest_keys(runs, kind_of, partial)]
    return options


KEYED: dict[str, Any] = {METRIC: Metric, PARAMETER: RunParam, TAG: RunTag}


def suggest_keys(runs: Sequence[str], kind: str, part: str) -> list[Option]:
    """The keys of these runs that hold `part`, those that begin with it first."""
    label = {METRIC: _("metric"), PARAMETER: _("param"), TAG: _("tag")}[kind]
    rows = KEYED[kind].objects.filter(run__in=runs, key__icontains=part).order_by("key")
    keys = list(rows.values_list("key", flat=True).distinct()[: OFFERED * 4])
    keys.sort(key=lambda key: not key.lower().startswith(part.lower()))
    return [Option(f"{WORDS[kind]}.{quote_key(key)} ", key, label) for key in keys[:OFFERED]]


def list_keys(runs: Sequence[str], kind: type[RunParam] | type[RunTag]) -> list[str]:
    """The first keys of these runs, for a list to choose from."""
    rows = kind._default_manager.filter(run__in=runs).order_by("key")
    return list(rows.values_list("key", flat=True).distinct()[:KEYS])


def suggest_values(actor: Actor, project: Project, kind: str, key: str, partial: str) -> list[Option]:
    """The values that the key has in the newest runs; of a number none."""
    part = partial.strip("'\"(")
    if kind == ATTRIBUTE and key == "status":
        states = [state.value.upper() for state in RunState]
        return [
            Option(f"{quote_value(state)} ", state, _("status")) for state in states if state.startswith(part.upper())
        ]
    rows: dict[str, tuple[type[models.Model], str]] = {PARAMETER: (RunParam, "value"), TAG: (RunTag, "value")}
    if kind == DATASET and key in RUNS.datasets:
        rows[DATASET] = (RunDataset, key)
    if kind not in rows:
        return []
    model, column = rows[kind]
    lookups = {"run__in": list_newest_runs(actor, project), f"{column}__istartswith": part}
    if kind != DATASET:
        lookups["key"] = key
    candidates: Any = model._default_manager.filter(**lookups).order_by(column)
    values = candidates.values_list(column, flat=True).distinct()[:OFFERED]
    return [Option(f"{quote_value(value)} ", value[:60], _("value")) for value in values if len(value) <= 200]

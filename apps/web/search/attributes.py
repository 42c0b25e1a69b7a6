"""What is found by what was said of it: runs by params and tags, models and versions by tags and aliases.

Whose keys and values are read, bounds.py limits: each run, model or version that is read is asked by its own index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import CharField, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Concat, Left
from django.db.models.lookups import IsNull
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.ml.experiments.models import RunParam, RunTag
from apps.ml.registry.models import Model, ModelVersion
from apps.web.search.bounds import VERSIONS, Places, above
from apps.web.search.hits import Hit
from apps.web.search.query import Asked

SHOWN = 100  # characters of a value
TABLES: dict[str, Any] = {"param": RunParam, "tag": RunTag}


# -- runs -----------------------------------------------------------------------------------------------------------
def has(table: Any, condition: Q) -> Q:
    """Whether the run has such a row. A subquery with a limit: PostgreSQL asks it for each run that is read, where
    EXISTS may have it read the whole table."""
    rows = table.objects.filter(condition, run=OuterRef("pk"))
    return Q(IsNull(Subquery(rows.values("pk")[:1]), False))


def begins_so(word: str) -> Q:
    """Runs with a param or tag whose key or value begins with a word."""
    return has(RunParam, beginning(word)) | has(RunTag, beginning(word))


def beginning(word: str, behind: str = "") -> Q:
    return Q(**{f"{behind}key__istartswith": word}) | Q(**{f"{behind}value__istartswith": word})


def pair(asked: Asked, behind: str = "") -> Q:
    """The key that was typed, with a value that begins so."""
    return Q(**{f"{behind}key": asked.key, f"{behind}value__istartswith": asked.value})


def of_run(asked: Asked) -> Q:
    """Runs with `lr=0.1`."""
    wanted = Q(pk__in=[])
    for of, table in TABLES.items():
        if asked.of in ("", of):
            wanted |= has(table, pair(asked))
    return wanted


def reason(asked: Asked) -> Coalesce:
    """`lr = 0.1`: the first param, or else tag, of a run that was asked for; None for one that has none."""
    wanted = pair(asked) if asked.key else Q(pk__in=[])
    for word in () if asked.key else asked.words:
        wanted |= beginning(word)
    told = Concat("key", Value(" = "), Left("value", SHOWN), output_field=CharField())
    firsts = [
        Subquery(
            table.objects.filter(wanted, run=OuterRef("pk")).order_by("key").annotate(told=told).values("told")[:1]
        )
        for of, table in TABLES.items()
        if asked.of in ("", of)
    ]
    return Coalesce(*firsts, Value(None, CharField()))


# -- models and versions --------------------------------------------------------------------------------------------
def of_models(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    """Models by their tags, versions by their tags and by the aliases that point to them. One query."""
    every = Model.objects.visible_to(actor).filter(places.here())
    seen = every.filter(above(places, "model", "touched_at"))
    versions = ModelVersion.objects.visible_to(actor).filter(
        above(places, "versioned", "touched_at", behind="model__"), model__deleted_at=None
    )
    newest = versions.filter(number__gt=F("model__versions_count") - VERSIONS)
    # A whole name is looked up by its index, wherever the model is.
    pointed = (every if asked.alias else seen).filter(alias_asked(asked), aliases__version__deleted_at=None)
    wanted = [part(pointed, number="aliases__version__number", key="aliases__name")]
    if asked.of != "param":
        wanted.append(part(seen.filter(tag_asked(asked)), key="tags__key", value="tags__value"))
        tagged = newest.filter(tag_asked(asked))
        wanted.append(part(tagged, model="model__", number="number", key="tags__key", value="tags__value"))
    rows = wanted[0].union(*wanted[1:], all=True)
    for project_id, name, number, key, value in rows.order_by("name_of", "-number_of", "key_of")[:limit]:
        slug = places.slug_of(project_id)
        page = ("registry:version", [slug, name, number]) if number else ("registry:model", [slug, name])
        yield Hit(
            kind="model",
            title=f"{name} v{number}" if number else name,
            text=f"{key} = {value}" if value is not None else _("alias %(name)s") % {"name": key},
            url=reverse(page[0], args=page[1]),
            project=slug,
            exact=bool(asked.alias) and value is None,
        )


def part(rows: QuerySet[Any], *, key: str, model: str = "", number: str = "", value: str = "") -> QuerySet[Any, Any]:
    """(project, model, version or 0, key, value or None) of each of these rows."""
    columns: dict[str, Any] = {
        "project_of": F(f"{model}project_id"),
        "name_of": F(f"{model}name"),
        "number_of": F(number) if number else Value(0, IntegerField()),
        "key_of": F(key),
        "value_of": Left(value, SHOWN) if value else Value(None, CharField()),
    }
    return rows.order_by().annotate(**columns).values_list(*columns)


def alias_asked(asked: Asked) -> Q:
    if asked.alias:
        return Q(name=asked.aliased, aliases__name__iexact=asked.alias)
    return Q(aliases__name__istartswith=asked.text)


def tag_asked(asked: Asked) -> Q:
    return pair(asked, "tags__") if asked.key else beginning(asked.text, "tags__")

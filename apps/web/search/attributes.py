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
from apps.web.search.bounds import MAX_VERSIONS_READ, SearchBounds, build_floor_filter
from apps.web.search.hits import Hit
from apps.web.search.query import SearchQuery

MAX_VALUE_LETTERS = 100  # characters of a value
TABLES: dict[str, Any] = {"param": RunParam, "tag": RunTag}


# -- runs -----------------------------------------------------------------------------------------------------------
def has_row(table: Any, condition: Q) -> Q:
    """Whether the run has such a row. A subquery with a limit: PostgreSQL asks it for each run that is read, where
    EXISTS may have it read the whole table."""
    rows = table.objects.filter(condition, run=OuterRef("pk"))
    return Q(IsNull(Subquery(rows.values("pk")[:1]), False))


def match_run_prefix(word: str) -> Q:
    """Runs with a param or tag whose key or value begins with a word."""
    return has_row(RunParam, match_prefix(word)) | has_row(RunTag, match_prefix(word))


def match_prefix(word: str, path: str = "") -> Q:
    return Q(**{f"{path}key__istartswith": word}) | Q(**{f"{path}value__istartswith": word})


def match_pair(query: SearchQuery, path: str = "") -> Q:
    """The key that was typed, with a value that begins so."""
    return Q(**{f"{path}key": query.key, f"{path}value__istartswith": query.value})


def match_run(query: SearchQuery) -> Q:
    """Runs with `lr=0.1`."""
    condition = Q(pk__in=[])
    for of, table in TABLES.items():
        if query.of in ("", of):
            condition |= has_row(table, match_pair(query))
    return condition


def build_reason(query: SearchQuery) -> Coalesce:
    """`lr = 0.1`: the first param, or else tag, of a run that was asked for; None for one that has none."""
    condition = match_pair(query) if query.key else Q(pk__in=[])
    for word in () if query.key else query.words:
        condition |= match_prefix(word)
    label = Concat("key", Value(" = "), Left("value", MAX_VALUE_LETTERS), output_field=CharField())
    firsts = [
        Subquery(
            table.objects.filter(condition, run=OuterRef("pk"))
            .order_by("key")
            .annotate(label=label)
            .values("label")[:1]
        )
        for of, table in TABLES.items()
        if query.of in ("", of)
    ]
    return Coalesce(*firsts, Value(None, CharField()))


# -- models and versions --------------------------------------------------------------------------------------------
def find_models_by_attributes(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    """Models by their tags, versions by their tags and by the aliases that point to them. One query."""
    models = Model.objects.visible_to(actor).filter(bounds.filter_projects())
    read_models = models.filter(build_floor_filter(bounds, "model", "touched_at"))
    versions = ModelVersion.objects.visible_to(actor).filter(
        build_floor_filter(bounds, "versioned", "touched_at", path="model__"), model__deleted_at=None
    )
    newest = versions.filter(number__gt=F("model__versions_count") - MAX_VERSIONS_READ)
    # A whole name is looked up by its index, wherever the model is.
    pointed = (models if query.alias else read_models).filter(match_alias(query), aliases__version__deleted_at=None)
    parts = [select_columns(pointed, number="aliases__version__number", key="aliases__name")]
    if query.of != "param":
        parts.append(select_columns(read_models.filter(match_tag(query)), key="tags__key", value="tags__value"))
        tagged = newest.filter(match_tag(query))
        parts.append(select_columns(tagged, model="model__", number="number", key="tags__key", value="tags__value"))
    rows = parts[0].union(*parts[1:], all=True)
    for project_id, name, number, key, value in rows.order_by("name_of", "-number_of", "key_of")[:limit]:
        slug = bounds.get_slug(project_id)
        page = ("registry:version", [slug, name, number]) if number else ("registry:model", [slug, name])
        yield Hit(
            kind="model",
            title=f"{name} v{number}" if number else name,
            text=f"{key} = {value}" if value is not None else _("alias %(name)s") % {"name": key},
            url=reverse(page[0], args=page[1]),
            project=slug,
            exact=bool(query.alias) and value is None,
        )


def select_columns(
    rows: QuerySet[Any], *, key: str, model: str = "", number: str = "", value: str = ""
) -> QuerySet[Any, Any]:
    """(project, model, version or 0, key, value or None) of each of these rows."""
    columns: dict[str, Any] = {
        "project_of": F(f"{model}project_id"),
        "name_of": F(f"{model}name"),
        "number_of": F(number) if number else Value(0, IntegerField()),
        "key_of": F(key),
        "value_of": Left(value, MAX_VALUE_LETTERS) if value else Value(None, CharField()),
    }
    return rows.order_by().annotate(**columns).values_list(*columns)


def match_alias(query: SearchQuery) -> Q:
    if query.alias:
        return Q(name=query.aliased, aliases__name__iexact=query.alias)
    return Q(aliases__name__istartswith=query.text)


def match_tag(query: SearchQuery) -> Q:
    return match_pair(query, "tags__") if query.key else match_prefix(query.text, "tags__")

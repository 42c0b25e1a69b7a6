"""model-versions/*: a version is a version of our registry, whoever made it, and READY at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.prompts import refuse_prompt
from apps.gateways.mlflow.request import Ask
from apps.gateways.mlflow.responses import absent, wrong
from apps.ml.registry import services
from apps.ml.registry.downloads import address_of, source_told
from apps.ml.registry.models import Alias, ModelVersion, ModelVersionTag

NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
TOP = 2**31


def create(ask: Ask) -> dict[str, Any]:
    tags = dict(ask.pairs("tags"))
    refuse_prompt(tags)
    made = services.record_version(
        actor=ask.actor,
        project=ask.project,
        name=ask.required("name"),
        source=ask.required("source"),
        run_id=ask.text("run_id"),
        model_id=ask.text("model_id"),
        description=ask.text("description"),
        run_link=ask.text("run_link"),
        tags=tags,
    )
    return {"model_version": shape(made, tags=ask.pairs("tags"))}


def get(ask: Ask) -> dict[str, Any]:
    return told(asked(ask))


def update(ask: Ask) -> dict[str, Any]:
    description, row = ask.text("description"), asked(ask)
    return told(services.describe_version(actor=ask.actor, version=row, description=description))


def delete(ask: Ask) -> dict[str, Any]:
    services.delete_version(actor=ask.actor, version=asked(ask))
    return {}


def transition_stage(ask: Ask) -> dict[str, Any]:
    name, version, stage = ask.required("name"), ask.required("version"), ask.required("stage")
    archive, row = ask.flag("archive_existing_versions"), version_found(ask, name, version)
    return told(services.set_stage(actor=ask.actor, version=row, stage=stage, archive_others=archive))


def set_tag(ask: Ask) -> dict[str, Any]:
    key, value, row = ask.required("key"), ask.text("value"), asked(ask)
    refuse_prompt({key: value})
    services.tag_version(actor=ask.actor, version=row, key=key, value=value)
    return {}


def delete_tag(ask: Ask) -> dict[str, Any]:
    key, row = ask.required("key"), asked(ask)
    services.untag_version(actor=ask.actor, version=row, key=key)
    return {}


def download_uri(ask: Ask) -> dict[str, Any]:
    row = version_found(ask, ask.required("name"), ask.text("version"), whole=True)
    return {"artifact_uri": address_of(row)}


# -- rows and their shape -------------------------------------------------------------------------------------------
def asked(ask: Ask) -> ModelVersion:
    return version_found(ask, ask.required("name"), ask.required("version"))


def version_found(ask: Ask, name: str, version: str, *, whole: bool = False) -> ModelVersion:
    """The version of a model of the project; `whole`: with its document and what it was made of."""
    if not NUMBER.fullmatch(version):
        raise wrong(f"Parameter 'version' must be an integer, got '{version[:40]}'.")
    rows = ModelVersion.objects.select_related("model")
    if whole:
        rows = rows.select_related("logged_model__experiment", "run__experiment")
    else:
        rows = rows.defer("document")
    number = int(version)
    row = None
    if 0 < number < TOP:
        row = rows.filter(
            model__project_id=ask.project_id, model__name=name, number=number, model__deleted_at=None, deleted_at=None
        ).first()
    if row is None:
        raise absent(f"Model Version (name={name}, version={version}) not found")
    row.model.project = ask.project
    return row


def told(version: ModelVersion) -> dict[str, Any]:
    return {"model_version": all_told([version])[0]}


def all_told(rows: Sequence[ModelVersion], *, aliases: Sequence[tuple[str, int]] | None = None) -> list[dict[str, Any]]:
    """Versions whole; two queries, however many they are. `aliases`: (name, number) of all of their model, if known."""
    keys = [row.pk for row in rows]
    if not keys:
        return []
    tags, names = defaultdict(list), defaultdict(list)
    for key, *pair in (
        ModelVersionTag.objects.filter(version__in=keys).order_by("pk").values_list("version_id", "key", "value")
    ):
        tags[key].append(tuple(pair))
    if aliases is None:
        asked = Alias.objects.filter(version__in=keys).order_by("name")
        pointers = list(asked.values_list("name", "version_id"))
    else:
        by_number = {row.number: row.pk for row in rows}
        pointers = [(name, by_number[number]) for name, number in aliases if number in by_number]
    for alias, key in pointers:
        names[key].append(alias)
    return [shape(row, tags=tags[row.pk], aliases=names[row.pk]) for row in rows]


def shape(row: ModelVersion, *, tags: Iterable[Any] = (), aliases: Sequence[str] = ()) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": row.model.name,
        "version": str(row.number),
        "creation_timestamp": serializers.milliseconds(row.created_at),
        "last_updated_timestamp": serializers.milliseconds(row.updated_at),
        "current_stage": row.stage,
        "description": row.description,
        "source": source_told(row),
        "run_id": row.run_id or "",
        "status": "READY",
    }
    if pairs := serializers.tags(tags):
        shown["tags"] = pairs
    shown["run_link"] = row.run_link
    if aliases:
        shown["aliases"] = list(aliases)
    return shown

"""model-versions/*: a version is a version of our registry, whoever made it, and READY at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from apps.core.request_values import MAX_INT64, parse_int
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.prompts import refuse_prompt
from apps.gateways.mlflow.request import MlflowCall
from apps.gateways.mlflow.responses import invalid_parameter_error, missing_resource_error
from apps.ml.registry import services
from apps.ml.registry.downloads import get_download_address, get_source_address
from apps.ml.registry.models import Alias, ModelVersion, ModelVersionTag

NUMBER_LIMIT = 2**31


def create(call: MlflowCall) -> dict[str, Any]:
    tags = dict(call.get_pairs("tags"))
    refuse_prompt(tags)
    version = services.record_version(
        actor=call.actor,
        project=call.project,
        name=call.require_text("name"),
        source=call.require_text("source"),
        run_id=call.get_text("run_id"),
        model_id=call.get_text("model_id"),
        description=call.get_text("description"),
        run_link=call.get_text("run_link"),
        tags=tags,
    )
    return {"model_version": serialize_version(version, tags=call.get_pairs("tags"))}


def get(call: MlflowCall) -> dict[str, Any]:
    return build_version_payload(get_requested_version(call))


def update(call: MlflowCall) -> dict[str, Any]:
    description, row = call.get_text("description"), get_requested_version(call)
    return build_version_payload(services.describe_version(actor=call.actor, version=row, description=description))


def delete(call: MlflowCall) -> dict[str, Any]:
    services.delete_version(actor=call.actor, version=get_requested_version(call))
    return {}


def transition_stage(call: MlflowCall) -> dict[str, Any]:
    name, version, stage = call.require_text("name"), call.require_text("version"), call.require_text("stage")
    archive, row = call.get_flag("archive_existing_versions"), get_version(call, name, version)
    return build_version_payload(services.set_stage(actor=call.actor, version=row, stage=stage, archive_others=archive))


def set_tag(call: MlflowCall) -> dict[str, Any]:
    key, value, row = call.require_text("key"), call.get_text("value"), get_requested_version(call)
    refuse_prompt({key: value})
    services.tag_version(actor=call.actor, version=row, key=key, value=value)
    return {}


def delete_tag(call: MlflowCall) -> dict[str, Any]:
    key, row = call.require_text("key"), get_requested_version(call)
    services.untag_version(actor=call.actor, version=row, key=key)
    return {}


def get_download_uri(call: MlflowCall) -> dict[str, Any]:
    row = get_version(call, call.require_text("name"), call.get_text("version"), with_document=True)
    return {"artifact_uri": get_download_address(row)}


# -- rows and their shape -------------------------------------------------------------------------------------------
def get_requested_version(call: MlflowCall) -> ModelVersion:
    return get_version(call, call.require_text("name"), call.require_text("version"))


def get_version(call: MlflowCall, name: str, version: str, *, with_document: bool = False) -> ModelVersion:
    """The version of a model of the project; `with_document`: also its document, run and logged model."""
    if (number := parse_int(version, -MAX_INT64)) is None:
        raise invalid_parameter_error(f"Parameter 'version' must be an integer, got '{version[:40]}'.")
    rows = ModelVersion.objects.select_related("model")
    if with_document:
        rows = rows.select_related("logged_model__experiment", "run__experiment")
    else:
        rows = rows.defer("document")
    row = None
    if 0 < number < NUMBER_LIMIT:
        row = rows.filter(
            model__project_id=call.project_id, model__name=name, number=number, model__deleted_at=None, deleted_at=None
        ).first()
    if row is None:
        raise missing_resource_error(f"Model Version (name={name}, version={version}) not found")
    row.model.project = call.project
    return row


def build_version_payload(version: ModelVersion) -> dict[str, Any]:
    return {"model_version": serialize_versions([version])[0]}


def serialize_versions(
    rows: Sequence[ModelVersion], *, aliases: Sequence[tuple[str, int]] | None = None
) -> list[dict[str, Any]]:
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
        alias_rows = Alias.objects.filter(version__in=keys).order_by("name")
        pointers = list(alias_rows.values_list("name", "version_id"))
    else:
        by_number = {row.number: row.pk for row in rows}
        pointers = [(name, by_number[number]) for name, number in aliases if number in by_number]
    for alias, key in pointers:
        names[key].append(alias)
    return [serialize_version(row, tags=tags[row.pk], aliases=names[row.pk]) for row in rows]


def serialize_version(row: ModelVersion, *, tags: Iterable[Any] = (), aliases: Sequence[str] = ()) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "name": row.model.name,
        "version": str(row.number),
        "creation_timestamp": serializers.to_milliseconds(row.created_at),
        "last_updated_timestamp": serializers.to_milliseconds(row.updated_at),
        "current_stage": row.stage,
        "description": row.description,
        "source": get_source_address(row),
        "run_id": row.run_id or "",
        "status": "READY",
    }
    if pairs := serializers.serialize_tags(tags):
        payload["tags"] = pairs
    payload["run_link"] = row.run_link
    if aliases:
        payload["aliases"] = list(aliases)
    return payload

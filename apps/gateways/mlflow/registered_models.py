"""registered-models/*: a registered model is a model of the token's project; `production` moves only by an approval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models.expressions import RawSQL

from apps.core.errors import Conflict
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.model_versions import get_version, serialize_versions
from apps.gateways.mlflow.prompts import refuse_prompt
from apps.gateways.mlflow.request import MlflowCall
from apps.gateways.mlflow.responses import MlflowError, invalid_parameter_error, missing_resource_error
from apps.ml.registry import services
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.states import STAGES


def create(call: MlflowCall) -> dict[str, Any]:
    name, description, tags = call.require_text("name"), call.get_text("description"), dict(call.get_pairs("tags"))
    refuse_prompt(tags)
    try:
        model = services.create_client_model(
            actor=call.actor, project=call.project, name=name, description=description, tags=tags
        )
    except Conflict as error:
        raise translate_conflict(error, name) from error
    return {"registered_model": serialize_registered_model(model, tags=tags.items())}


def get(call: MlflowCall) -> dict[str, Any]:
    return build_registered_model_payload(get_registered_model(call, call.require_text("name")))


def update(call: MlflowCall) -> dict[str, Any]:
    name, description = call.require_text("name"), call.get_text("description")
    return build_registered_model_payload(
        services.describe_model(actor=call.actor, model=get_registered_model(call, name), description=description)
    )


def rename(call: MlflowCall) -> dict[str, Any]:
    name, new_name = call.require_text("name"), call.require_text("new_name")
    try:
        return build_registered_model_payload(
            services.rename_model(actor=call.actor, model=get_registered_model(call, name), name=new_name)
        )
    except Conflict as error:
        raise translate_conflict(error, new_name) from error


def delete(call: MlflowCall) -> dict[str, Any]:
    services.delete_model(actor=call.actor, model=get_registered_model(call, call.require_text("name")))
    return {}


def set_tag(call: MlflowCall) -> dict[str, Any]:
    name, key, value = call.require_text("name"), call.require_text("key"), call.get_text("value")
    refuse_prompt({key: value})
    services.tag_model(actor=call.actor, model=get_registered_model(call, name), key=key, value=value)
    return {}


def delete_tag(call: MlflowCall) -> dict[str, Any]:
    name, key = call.require_text("name"), call.require_text("key")
    services.untag_model(actor=call.actor, model=get_registered_model(call, name), key=key)
    return {}


# -- aliases --------------------------------------------------------------------------------------------------------
def set_alias(call: MlflowCall) -> dict[str, Any]:
    name, alias, version = call.require_text("name"), call.require_text("alias"), call.require_text("version")
    row = get_version(call, name, version)
    services.set_alias(actor=call.actor, version=row, name=alias, by_client=True)
    return {}


def delete_alias(call: MlflowCall) -> dict[str, Any]:
    name, alias = call.require_text("name"), call.require_text("alias")
    services.remove_alias(actor=call.actor, model=get_registered_model(call, name), name=alias)
    return {}


def get_alias(call: MlflowCall) -> dict[str, Any]:
    """The version that an alias points to; `latest` is the newest."""
    name, alias = call.require_text("name"), call.require_text("alias")
    versions = ModelVersion.objects.filter(model__project_id=call.project_id, model__name=name, deleted_at=None)
    if alias.lower() == "latest":
        rows = versions.order_by("-number")
    else:
        rows = versions.filter(aliases__name=alias)
    row = rows.select_related("model").defer("document").first()
    if row is None:
        get_registered_model(call, name)  # raises, where there is no such model
        raise invalid_parameter_error(f"Registered model alias {alias} not found.")
    return {"model_version": serialize_versions([row])[0]}


def get_latest_versions(call: MlflowCall) -> dict[str, Any]:
    """The newest version of each stage, or of those asked for."""
    name, stage_names = call.require_text("name"), call.get_texts("stages")
    stages = [parse_stage(word) for word in stage_names]
    rows = list_newest_versions(get_registered_model(call, name), stages or STAGES)
    return {"model_versions": serialize_versions(rows)} if rows else {}


# -- rows and their shape -------------------------------------------------------------------------------------------
def get_registered_model(call: MlflowCall, name: str) -> Model:
    row = Model.objects.filter(project_id=call.project_id, name=name, deleted_at=None).first()
    if row is None:
        raise missing_resource_error(f"Registered Model with name={name} not found")
    row.project = call.project
    return row


def list_newest_versions(model: Model, stages: Sequence[str]) -> list[ModelVersion]:
    """The newest version of each of these stages; one query, a step into an index for each."""
    table = ModelVersion._meta.db_table
    step = (
        f"SELECT id FROM (SELECT id FROM {table} WHERE model_id = %s AND stage = %s AND deleted_at IS NULL "  # noqa: S608
        "ORDER BY number DESC LIMIT 1) AS one"
    )
    keys = RawSQL(" UNION ALL ".join([step] * len(stages)), [part for stage in stages for part in (model.pk, stage)])  # noqa: S611
    rows = list(ModelVersion.objects.filter(pk__in=keys).defer("document"))
    for row in rows:
        row.model = model
    return sorted(rows, key=lambda row: row.number)


def build_registered_model_payload(model: Model) -> dict[str, Any]:
    """A model whole; four queries beside its own at most."""
    aliases = list(Alias.objects.filter(model=model).order_by("name").values_list("name", "version__number"))
    tags = model.tags.order_by("pk").values_list("key", "value")
    rows = list_newest_versions(model, STAGES) if model.versions_count else []
    versions = serialize_versions(rows, aliases=aliases)
    return {"registered_model": serialize_registered_model(model, versions=versions, tags=tags, aliases=aliases)}


def serialize_registered_model(
    model: Model, *, versions: Sequence[Any] = (), tags: Any = (), aliases: Any = ()
) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "name": model.name,
        "creation_timestamp": serializers.to_milliseconds(model.created_at),
        "last_updated_timestamp": serializers.to_milliseconds(model.updated_at),
    }
    if model.description:
        payload["description"] = model.description
    if versions:
        payload["latest_versions"] = list(versions)
    if pairs := serializers.serialize_tags(tags):
        payload["tags"] = pairs
    if alias_rows := [{"alias": name, "version": str(number)} for name, number in aliases]:
        payload["aliases"] = alias_rows
    return payload


def parse_stage(word: str) -> str:
    stage = next((candidate for candidate in STAGES if candidate.lower() == word.lower()), None)
    if stage is None:
        raise invalid_parameter_error(
            f"Invalid Model Version stage: {word[:40]}. Value must be one of {', '.join(STAGES)}."
        )
    return stage


def translate_conflict(error: Conflict, name: str) -> Exception:
    if error.code != "model_exists":
        return error
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")

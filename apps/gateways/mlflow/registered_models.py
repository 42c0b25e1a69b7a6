"""registered-models/*: a registered model is a model of the token's project; `production` moves only by an approval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models.expressions import RawSQL

from apps.core.errors import Conflict
from apps.gateways.mlflow import serializers
from apps.gateways.mlflow.model_versions import all_told, version_found
from apps.gateways.mlflow.prompts import refuse_prompt
from apps.gateways.mlflow.request import Ask
from apps.gateways.mlflow.responses import MlflowError, absent, wrong
from apps.ml.registry import services
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.ml.registry.states import STAGES


def create(ask: Ask) -> dict[str, Any]:
    name, description, tags = ask.required("name"), ask.text("description"), dict(ask.pairs("tags"))
    refuse_prompt(tags)
    try:
        made = services.create_client_model(
            actor=ask.actor, project=ask.project, name=name, description=description, tags=tags
        )
    except Conflict as error:
        raise taken(error, name) from error
    return {"registered_model": shape(made, tags=tags.items())}


def get(ask: Ask) -> dict[str, Any]:
    return told(found(ask, ask.required("name")))


def update(ask: Ask) -> dict[str, Any]:
    name, description = ask.required("name"), ask.text("description")
    return told(services.describe_model(actor=ask.actor, model=found(ask, name), description=description))


def rename(ask: Ask) -> dict[str, Any]:
    name, new_name = ask.required("name"), ask.required("new_name")
    try:
        return told(services.rename_model(actor=ask.actor, model=found(ask, name), name=new_name))
    except Conflict as error:
        raise taken(error, new_name) from error


def delete(ask: Ask) -> dict[str, Any]:
    services.delete_model(actor=ask.actor, model=found(ask, ask.required("name")))
    return {}


def set_tag(ask: Ask) -> dict[str, Any]:
    name, key, value = ask.required("name"), ask.required("key"), ask.text("value")
    refuse_prompt({key: value})
    services.tag_model(actor=ask.actor, model=found(ask, name), key=key, value=value)
    return {}


def delete_tag(ask: Ask) -> dict[str, Any]:
    name, key = ask.required("name"), ask.required("key")
    services.untag_model(actor=ask.actor, model=found(ask, name), key=key)
    return {}


# -- aliases --------------------------------------------------------------------------------------------------------
def set_alias(ask: Ask) -> dict[str, Any]:
    name, alias, version = ask.required("name"), ask.required("alias"), ask.required("version")
    row = version_found(ask, name, version)
    services.set_alias(actor=ask.actor, version=row, name=alias, by_client=True)
    return {}


def delete_alias(ask: Ask) -> dict[str, Any]:
    name, alias = ask.required("name"), ask.required("alias")
    services.remove_alias(actor=ask.actor, model=found(ask, name), name=alias)
    return {}


def get_alias(ask: Ask) -> dict[str, Any]:
    """The version that an alias points to; `latest` is the newest."""
    name, alias = ask.required("name"), ask.required("alias")
    versions = ModelVersion.objects.filter(model__project_id=ask.project_id, model__name=name, deleted_at=None)
    if alias.lower() == "latest":
        rows = versions.order_by("-number")
    else:
        rows = versions.filter(aliases__name=alias)
    row = rows.select_related("model").defer("document").first()
    if row is None:
        found(ask, name)  # raises, where there is no such model
        raise wrong(f"Registered model alias {alias} not found.")
    return {"model_version": all_told([row])[0]}


def latest_versions(ask: Ask) -> dict[str, Any]:
    """The newest version of each stage, or of those asked for."""
    name, asked = ask.required("name"), ask.texts("stages")
    stages = [stage_of(word) for word in asked]
    rows = newest(found(ask, name), stages or STAGES)
    return {"model_versions": all_told(rows)} if rows else {}


# -- rows and their shape -------------------------------------------------------------------------------------------
def found(ask: Ask, name: str) -> Model:
    row = Model.objects.filter(project_id=ask.project_id, name=name, deleted_at=None).first()
    if row is None:
        raise absent(f"Registered Model with name={name} not found")
    row.project = ask.project
    return row


def newest(model: Model, stages: Sequence[str]) -> list[ModelVersion]:
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


def told(model: Model) -> dict[str, Any]:
    """A model whole; four queries beside its own at most."""
    aliases = list(Alias.objects.filter(model=model).order_by("name").values_list("name", "version__number"))
    tags = model.tags.order_by("pk").values_list("key", "value")
    rows = newest(model, STAGES) if model.versions_count else []
    versions = all_told(rows, aliases=aliases)
    return {"registered_model": shape(model, versions=versions, tags=tags, aliases=aliases)}


def shape(model: Model, *, versions: Sequence[Any] = (), tags: Any = (), aliases: Any = ()) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": model.name,
        "creation_timestamp": serializers.milliseconds(model.created_at),
        "last_updated_timestamp": serializers.milliseconds(model.updated_at),
    }
    if model.description:
        shown["description"] = model.description
    if versions:
        shown["latest_versions"] = list(versions)
    if pairs := serializers.tags(tags):
        shown["tags"] = pairs
    if named := [{"alias": name, "version": str(number)} for name, number in aliases]:
        shown["aliases"] = named
    return shown


def stage_of(word: str) -> str:
    stage = next((one for one in STAGES if one.lower() == word.lower()), None)
    if stage is None:
        raise wrong(f"Invalid Model Version stage: {word[:40]}. Value must be one of {', '.join(STAGES)}.")
    return stage


def taken(error: Conflict, name: str) -> Exception:
    if error.code != "model_exists":
        return error
    return MlflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")

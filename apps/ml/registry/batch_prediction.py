"""A batch prediction before it is queued: the model version that its spec names, and whether the table fits it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Case, Q, When
from pydantic import BaseModel

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError
from apps.data.datasets.latest_tables import find_table
from apps.data.datasets.models import DatasetFile
from apps.ml.registry.blocks import require_unblocked
from apps.ml.registry.documents import Document, read_document
from apps.ml.registry.models import ModelVersion, Variant
from apps.ml.registry.queries import get_alias, get_version, list_variants
from apps.platform.accounts.models import Project
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec
from apps.platform.jobs.table_columns import TEXT_TYPES
from deepseek.evaluate.spec import SHARE
from deepseek.messages import Message
from deepseek.predict.spec import PredictSpec

FIELD = "/spec/model"
MODEL_FIELD = "/inputs/model/digest"
FORMAT = "NAME:vN, NAME:ALIAS, NAME:vN/FORM"
REFERENCE = re.compile(r"(?P<name>[^:/]{1,256}):(?P<which>[^:/]{1,255})(?:/(?P<form>[a-z0-9][a-z0-9_.-]{0,59}))?")
NUMBER = re.compile(r"v?([1-9][0-9]{0,8})")
TABLE_FAMILIES = ("mlp", "")  # of models of tables and series; the first ones did not name it
TABLE_TASKS = ("classification", "regression", "forecast")
IMAGE_MARK = '"type":"image"'  # in the document of a model of images, whose task is a classification too
MAX_VERSIONS_OFFERED = 100  # newest first


def resolve_model_version(actor: Actor, project: Project, spec: BaseModel) -> list[InputSpec]:
    """The model file and the manifest of the version that the spec names; none where it names none.

    Raises Invalid for a version or a form that is not there, that is blocked, or that a client registered.
    """
    assert isinstance(spec, PredictSpec)  # noqa: S101 - registered for this kind
    if not spec.model:
        return []
    match = REFERENCE.fullmatch(spec.model)
    if match is None:
        message = Message("{reference!r} names no version of a model.", reference=spec.model[:60])
        raise combine_errors([build_model_error("model_unknown", message)])
    try:
        version = find_version(actor, project, match["name"], match["which"])
        require_unblocked(version)
    except PlaneError as failure:
        code = failure.code if failure.code == "version_blocked" else "model_unknown"
        raise combine_errors([build_model_error(code, failure.message, hint=failure.hint)]) from failure
    variant = choose_variant(actor, version, match["form"] or "")
    return [
        InputSpec(slot="model", digest=variant.artifact_id),
        InputSpec(slot="manifest", digest=variant.manifest_id),
    ]


def find_version(actor: Actor, project: Project, name: str, which: str) -> ModelVersion:
    """The version by its number, or the one that the alias points to now."""
    number = NUMBER.fullmatch(which)
    return get_version(actor, project, name, number[1]) if number else get_alias(actor, project, name, which).version


def choose_variant(actor: Actor, version: ModelVersion, form: str) -> Variant:
    """The form by its name, the one that was trained without. Raises Invalid."""
    variants = list_variants(actor, version)
    variant = next((variant for variant in variants if not form or variant.name == form), None)
    if variant is not None:
        return variant
    if not variants:
        message = Message(
            "{version} has no form that the plane can run: a client registered its files.", version=version
        )
        raise combine_errors([build_model_error("no_variant", message, hint=Message("Run it where its client does."))])
    names = ", ".join(variant.name for variant in variants)
    message = Message("{version} has no variant {name!r}.", version=version, name=form)
    raise combine_errors([build_model_error("no_variant", message, limit=names)])


def format_model_reference(version: ModelVersion) -> str:
    """The version as a spec names it."""
    return f"{version.model.name}:v{version.number}"


def find_input_variant(project_id: int, digests: Mapping[str, str], reference: str = "") -> Variant | None:
    """The registered form with the model and the manifest that a job takes; None where none was registered.

    Of several versions with the same bytes it is the one that `reference`, of the job's spec, names, else the newest.
    """
    forms = Variant.objects.filter(artifact=digests.get("model"), manifest=digests.get("manifest"))
    of_project = forms.filter(version__model__project=project_id, version__deleted_at=None)
    newest = of_project.select_related("version__model").order_by("-version_id")
    match = REFERENCE.fullmatch(reference)
    if match is None:
        return newest.first()
    named = Q(version__model__name=match["name"])
    if number := NUMBER.fullmatch(match["which"]):
        named &= Q(version__number=int(number[1]))
    return newest.order_by(Case(When(named, then=1), default=0).desc(), "-version_id").first()


def list_table_models(actor: Actor, project: Project) -> list[ModelVersion]:
    """The newest versions of models of tables and series, as forms offer them."""
    versions = ModelVersion.objects.visible_to(actor).filter(model__project=project, model__deleted_at=None)
    of_tables = versions.filter(task__in=TABLE_TASKS, source="").exclude(document__contains=IMAGE_MARK)
    return list(of_tables.select_related("model").defer("document").order_by("-pk")[:MAX_VERSIONS_OFFERED])


def can_predict_tables(version: ModelVersion) -> bool:
    """Whether the version is a model of tables or series of which the plane has a form."""
    return not version.by_client and get_family(read_document(version.document)) in TABLE_FAMILIES


def get_family(document: Document) -> str:
    architecture = document.get("architecture")
    return str(architecture.get("type", "")) if isinstance(architecture, dict) else ""


# -- the model and the table ----------------------------------------------------------------------------------------
def check_prediction_inputs(
    actor: Actor, project: Project, spec: BaseModel, digests: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the model's signature says against the table, as far as both are known: the engine looks again."""
    assert isinstance(spec, PredictSpec)  # noqa: S101 - registered for this kind
    variant = find_input_variant(project.pk, digests, spec.model)
    if variant is None:
        return []
    policy.require(actor, "model.view", variant.version)
    if not spec.model:  # resolve_model_version has looked at the one that it names
        try:
            require_unblocked(variant.version)
        except PlaneError as failure:
            return [build_model_error(failure.code, failure.message, hint=failure.hint) | {"field": MODEL_FIELD}]
    document = read_document(variant.version.document)
    family = get_family(document)
    if family not in TABLE_FAMILIES:
        return [build_family_error(variant.version, family, spec)]
    parts = sorted(slot for slot in digests if slot == "table" or slot.startswith("table/"))
    file = find_table(actor, project, digests[parts[0]]) if parts else None
    if file is None or not file.version.columns:
        return []
    columns = {str(column.get("name")): str(column.get("dtype") or "") for column in file.version.columns}
    return [
        *iter_signature_errors(variant.version, document, file, columns),
        *iter_spec_errors(spec, document, file, columns),
    ]


def iter_signature_errors(
    version: ModelVersion, document: Document, file: DatasetFile, columns: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The columns that the model takes and the table does not have, or has as texts where it takes numbers."""
    names = [document["target"]] if document.get("task") == "forecast" else list(document.get("features") or [])
    for name in names:
        if name not in columns:
            yield {
                "code": "unknown_column",
                "message": Message(
                    "{data} has no column {name!r}, which {model} takes.", data=file.version, name=name, model=version
                ),
                "field": "/inputs/table",
                "limit": Message("the columns that the model takes: {names}", names=", ".join(names)[:500]),
                "hint": Message("Choose a table that was made as the one that the model learned from."),
            }
        elif columns[name].startswith(TEXT_TYPES) and name not in (document.get("categories") or {}):
            yield {
                "code": "column_not_numeric",
                "message": Message(
                    "The column {name!r} of {data} holds text, and {model} takes numbers there.",
                    name=name,
                    data=file.version,
                    model=version,
                ),
                "field": "/inputs/table",
                "limit": Message("a column of numbers"),
                "hint": Message("Choose a table that was made as the one that the model learned from."),
            }


def iter_spec_errors(
    spec: PredictSpec, document: Document, file: DatasetFile, columns: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The columns to keep that the table does not have, and new columns that would take the name of one."""
    for place, name in enumerate(spec.keep or ()):
        if name not in columns:
            yield {
                "code": "unknown_column",
                "message": Message("{data} has no column {name!r}.", data=file.version, name=name),
                "field": f"/spec/keep/{place}",
                "limit": ", ".join(columns)[:500],
                "hint": None,
            }
    kept = set(columns) if spec.keep is None else set(spec.keep)
    has_shares = spec.probabilities and document.get("task") == "classification"
    shares = [f"{SHARE}{name}" for name in document.get("classes") or ()] if has_shares else []
    for name in (spec.name, *shares):
        if name in kept:
            yield {
                "code": "column_exists",
                "message": Message(
                    "The predictions need the column name {name!r}, which {data} already has.",
                    name=name,
                    data=file.version,
                ),
                "field": "/spec/name",
                "limit": Message("a name that no column to keep has"),
                "hint": Message("Choose another name, or do not keep that column."),
            }


def build_family_error(version: ModelVersion, family: str, spec: PredictSpec) -> dict[str, Any]:
    return {
        "code": "family_unsupported",
        "message": Message(
            "{model} is a model of the family {family}; predicting for a table takes models of tables and series.",
            model=version,
            family=family,
        ),
        "field": FIELD if spec.model else MODEL_FIELD,
        "limit": Message("classification, regression or forecast of a table"),
        "hint": Message("Use the trained model as it is; its page says what can be done with it."),
    }


def build_model_error(code: str, message: str, *, limit: str = FORMAT, hint: str | None = None) -> dict[str, Any]:
    hint = hint or Message("Name a version of a model of this project, for instance fuel:v3.")
    return {"code": code, "message": message, "field": FIELD, "limit": limit, "hint": hint}

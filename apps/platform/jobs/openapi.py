"""The specs' JSON Schemas in the API's schema: one component each, and a body for POST jobs that the kind decides."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.serializers import JobBody, PriorityBody, ReasonBody

REF = "#/components/schemas/{model}"
SUBMISSION = "JobSubmission"


def add_spec_schemas(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Hook of drf-spectacular: adds the components that the operations of jobs name.

    Raises ValueError if two different schemas claim one name: the class names of specs are unique over all kinds.
    """
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    for model in (ReasonBody, PriorityBody):
        merge_schemas(schemas, collect_components(model))
    shared = collect_components(JobBody)
    body = shared.pop(JobBody.__name__)
    merge_schemas(schemas, shared)
    mapping: dict[str, str] = {}
    for name, kind in KINDS.items():
        merge_schemas(schemas, collect_components(kind.spec))
        component = f"{kind.spec.__name__.removesuffix('Spec')}Job"
        merge_schemas(schemas, {component: build_kind_body(name, kind.spec, body)})
        mapping[name] = REF.format(model=component)
    choice = {
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "kind", "mapping": mapping},
    }
    merge_schemas(schemas, {SUBMISSION: choice})
    return result


def collect_components(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """The schema of a model and of every model inside it, by class name."""
    schema = model.model_json_schema(ref_template=REF)
    definitions: dict[str, dict[str, Any]] = schema.pop("$defs", {})
    return {**definitions, model.__name__: schema}


def build_kind_body(kind: str, spec: type[BaseModel], body: dict[str, Any]) -> dict[str, Any]:
    """The body of POST jobs for one kind: its name is fixed and its spec typed."""
    required = ["kind", *(["spec"] if spec.model_json_schema().get("required") else [])]
    fixed = {"kind": {"type": "string", "const": kind}, "spec": {"$ref": REF.format(model=spec.__name__)}}
    title = f"{kind} job"
    return {**body, "title": title, "properties": {**body["properties"], **fixed}, "required": required}


def merge_schemas(schemas: dict[str, Any], fresh: dict[str, dict[str, Any]]) -> None:
    for name, schema in fresh.items():
        if schemas.setdefault(name, schema) != schema:
            raise ValueError(f"Two different schemas are called {name}: rename the class of one.")

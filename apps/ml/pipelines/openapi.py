"""The bodies of pipelines in the API's schema: steps of any kind, or a template whose parameters are typed."""

from __future__ import annotations

from typing import Any

from apps.ml.pipelines.requests import RerunBody, StepsBody, TemplateBody
from apps.ml.pipelines.templates import TEMPLATES
from apps.platform.jobs.openapi import REF, collect_components, merge_schemas

SUBMISSION = "PipelineSubmission"


def add_pipeline_schemas(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Hook of drf-spectacular, after that of jobs: adds the components that the operations of pipelines name."""
    schemas = result["components"]["schemas"]
    for model in (StepsBody, RerunBody):
        merge_schemas(schemas, collect_components(model))
    shared = collect_components(TemplateBody)
    body = shared.pop(TemplateBody.__name__)
    merge_schemas(schemas, shared)
    choices = [REF.format(model=StepsBody.__name__)]
    for name, template in TEMPLATES.items():
        merge_schemas(schemas, collect_components(template.parameters))
        component = f"{template.parameters.__name__.removesuffix('Parameters')}Pipeline"
        fixed = {
            "template": {"type": "string", "const": name},
            "params": {"$ref": REF.format(model=template.parameters.__name__)},
        }
        needed = ["params"] if template.parameters.model_json_schema().get("required") else []
        fields = {"title": name, "required": [*body["required"], *needed]}
        merge_schemas(schemas, {component: {**body, **fields, "properties": {**body["properties"], **fixed}}})
        choices.append(REF.format(model=component))
    merge_schemas(schemas, {SUBMISSION: {"oneOf": [{"$ref": choice} for choice in choices]}})
    return result

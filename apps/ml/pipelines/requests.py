"""Bodies that come in: steps given whole, or a template with its parameters. Every error at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.data.datasets import queries as datasets
from apps.data.datasets.models import DatasetVersion
from apps.ml.pipelines.checks import prefix_errors
from apps.ml.pipelines.models import STEP_NAME_LIMIT, Pipeline
from apps.ml.pipelines.schemas import STEPS_LIMIT, PipelineRequest, StepBody
from apps.ml.pipelines.templates import TemplateInputs, build_pipeline_request, get_template
from apps.platform.accounts.models import Project
from apps.platform.jobs.serializers import STRICT, NeedsBody, build_body_errors, find_spec_errors, read_body
from apps.platform.jobs.services.idempotency import find_by_idempotency_key
from apps.platform.jobs.spec_validation import combine_errors
from deepseek.messages import Message


class StepsBody(BaseModel):
    """A pipeline of any steps: what each takes from another one makes the graph."""

    model_config = STRICT

    name: str = Field("", description="For people; up to 120 characters.")
    steps: list[StepBody] = Field(
        description=f"1 to {STEPS_LIMIT} steps, in any order.",
        json_schema_extra={"minItems": 1, "maxItems": STEPS_LIMIT},  # checked with the rest of the graph
    )


class TemplateBody(BaseModel):
    """A pipeline from a template: GET /api/v1/pipeline-templates lists them with the schema of `params`."""

    model_config = STRICT

    template: str = Field(max_length=60, description="A key of GET /api/v1/pipeline-templates.")
    dataset: str = Field(max_length=50, description="The dataset whose table it starts from.")
    version: int | None = Field(None, ge=1, le=10**9 - 1, description="Its version; the newest if left out.")
    params: dict[str, Any] = Field(default_factory=dict, description="What the steps do; the schema is the template's.")
    model: str = Field(max_length=200, description="The model that gets the new version; made if there is none.")
    cleaned: str | None = Field(
        None, max_length=200, description="The dataset that gets the cleaned table; DATASET-clean if left out."
    )
    name: str = Field("", description="For people; up to 120 characters; the model's if left out.")
    needs: dict[str, NeedsBody] = Field(
        default_factory=dict, max_length=STEPS_LIMIT, description="By step: instead of what its kind asks of a node."
    )


class RerunBody(BaseModel):
    """From which step on, and what is to differ."""

    model_config = STRICT

    start: str = Field(max_length=STEP_NAME_LIMIT, alias="from", description="The first step that runs again.")
    changes: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        max_length=STEPS_LIMIT,
        description="By step: fields of its spec that differ; objects inside are merged, all else replaced.",
    )


def read_pipeline_request(actor: Actor, project: Project, data: Any, *, idempotency_key: str | None) -> PipelineRequest:
    """What a POST of a pipeline asks for. Invalid with every error that can be seen before the steps are checked."""
    if not isinstance(data, Mapping) or "template" not in data:
        return read_steps(data, idempotency_key=idempotency_key)
    body = read_body(TemplateBody, data)
    get_template(body.template)
    number = body.version or find_version_of_key(actor, project, body.dataset, idempotency_key)
    version = get_requested_version(actor, project, body.dataset, number)
    ground = TemplateInputs(
        version=version,
        table=datasets.get_main_file(actor, version),
        model=body.model,
        cleaned=body.cleaned,
        needs=body.needs,
    )
    return build_pipeline_request(body.template, ground, body.params, title=body.name, idempotency_key=idempotency_key)


def read_steps(data: Any, *, idempotency_key: str | None) -> PipelineRequest:
    """Steps given whole. Where their form is wrong, what is wrong with their specs is told with it."""
    try:
        body = StepsBody.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as failure:
        steps = data.get("steps") if isinstance(data, Mapping) else None
        listed = steps[:STEPS_LIMIT] if isinstance(steps, list) else []
        errors = [
            fault
            for index, step in enumerate(listed)
            for fault in prefix_errors(find_spec_errors(step), f"/steps/{index}")
        ]
        raise combine_errors(build_body_errors(failure, data) + errors) from None
    return PipelineRequest(steps=body.steps, name=body.name, idempotency_key=idempotency_key)


def find_version_of_key(actor: Actor, project: Project, dataset: str, key: str | None) -> int | None:
    """The version that this key's first pipeline took: sent again, the request means that one and not a newer one."""
    first = find_by_idempotency_key(Pipeline.objects.all(), actor=actor, project_id=project.pk, key=key)
    parameters = json.loads(first.document).get("parameters") or {} if first else {}
    return parameters["version"] if parameters.get("dataset") == dataset else None


def get_requested_version(actor: Actor, project: Project, dataset: str, number: int | None) -> DatasetVersion:
    """The version that a body names; Invalid where there is none: it is the body that is wrong, not the address."""
    try:
        version_number = number or datasets.get_dataset(actor, project, dataset).versions_count
        return datasets.get_version(actor, project, dataset, str(version_number or 1))
    except NotFound as failure:
        where = "/version" if number else "/dataset"
        hint = Message("List the datasets and their versions.")
        raise Invalid(failure.message, code="version_not_found", field=where, hint=hint) from None


def copy_template_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a stored pipeline as a new request takes them: no plan of a cleaning that it skips."""
    copied = {name: value for name, value in parameters.items() if value is not None}
    params = dict(copied.get("params") or {})
    if params.get("skip_cleaning"):
        params.pop("clean", None)
    return {**copied, "params": params}

"""What a pipeline asks for: its steps, typed. The body of a REST call, the stored document and the service share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from apps.core.canonical import encode_canonical_json
from apps.ml.pipelines.models import STEP_NAME_LIMIT, Pipeline
from apps.platform.jobs.serializers import STRICT, JobId, NeedsBody, Slot, merge_needs
from apps.platform.jobs.submission import InputSpec, Submission

STEPS_LIMIT = 100
JOB_NAME_LIMIT = 120


class StepInputBody(BaseModel):
    """What fills a slot: an artifact by `digest`, or the output `slot` of a `step` of this pipeline or of a `job`."""

    model_config = STRICT

    digest: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="SHA-256 of an artifact, 64 hex digits.")
    step: str | None = Field(None, max_length=200, description="The step whose output it will be.")
    job: JobId | None = Field(None, description="The job, made before, whose output it will be.")
    slot: Slot | None = Field(None, description="Which output of that step or job.")


class StepBody(BaseModel):
    """One job of a pipeline. `spec` is validated against its kind: GET /api/v1/kinds has the schemas."""

    model_config = STRICT

    name: str = Field(max_length=200, description="Names the step in this pipeline: letters, digits, hyphens.")
    kind: str = Field(max_length=40, description="A key of GET /api/v1/kinds.")
    spec: dict[str, Any] = Field(default_factory=dict, description="What the job does; its schema is the kind's.")
    inputs: dict[Slot, StepInputBody] = Field(default_factory=dict, max_length=200, description="What fills each slot.")
    after: list[str] = Field(default_factory=list, max_length=200, description="Steps that must succeed before.")
    registers: dict[str, str] = Field(  # the plain name belongs to ABCMeta
        default_factory=dict,
        max_length=10,
        alias="register",
        description="What becomes of the outputs, for instance the name of a dataset.",
    )
    priority: int = Field(0, description="-100 to 100; higher starts first.")
    needs: NeedsBody | None = Field(None, description="Instead of what the kind asks of a node.")
    max_attempts: int | None = Field(None, description="1 to 20.")
    time_limit_seconds: int | None = Field(None, description="Of one attempt; up to 30 days.")

    def parents(self) -> list[str]:
        """The names of the steps that it takes from or comes after, each once."""
        return list(
            dict.fromkeys([step_input.step for step_input in self.inputs.values() if step_input.step] + self.after)
        )

    def submission(self, jobs: Mapping[str, int], pipeline_name: str = "") -> Submission:
        """The job of this step. `jobs`: the ids of the steps made so far; what none of them fills is left out."""
        name = self.name[:STEP_NAME_LIMIT]
        job_name = f"{pipeline_name[: JOB_NAME_LIMIT - 2 - len(name)]}: {name}" if pipeline_name else name
        return Submission(
            kind=self.kind,
            spec=self.spec,
            inputs=[
                filled
                for slot, step_input in self.inputs.items()
                if (filled := build_input_spec(slot, step_input, jobs))
            ],
            after=[jobs[name] for name in dict.fromkeys(self.after) if name in jobs],
            register=self.registers,
            name=job_name,
            priority=self.priority,
            needs=merge_needs(self.needs, self.kind),
            max_attempts=self.max_attempts,
            time_limit_seconds=self.time_limit_seconds,
        )

    def document(self) -> dict[str, Any]:
        """As it was asked for, without what was left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def build_input_spec(slot: str, step_input: StepInputBody, jobs: Mapping[str, int]) -> InputSpec | None:
    if step_input.step is None:
        return InputSpec(
            slot=slot, digest=step_input.digest or "", job_id=step_input.job, job_slot=step_input.slot or ""
        )
    if step_input.step in jobs:
        return InputSpec(slot=slot, job_id=jobs[step_input.step], job_slot=step_input.slot or "")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRequest:
    """Steps, and where they come from: a template with its parameters, or another pipeline from one step on."""

    steps: list[StepBody]
    name: str = ""
    template: str = ""
    parameters: Mapping[str, Any] | None = None
    rerun_of: Pipeline | None = None
    rerun_from: str = ""
    idempotency_key: str | None = None

    def document(self) -> str:
        """Canonical JSON of everything that makes two requests the same, the key itself left out."""
        fields: dict[str, Any] = {"name": self.name, "steps": [step.document() for step in self.steps]}
        if self.template:
            fields["template"] = self.template
        if self.parameters is not None:
            fields["parameters"] = self.parameters
        if self.rerun_of:
            fields |= {"rerun_of": self.rerun_of.pk, "from": self.rerun_from}
        return encode_canonical_json(fields)


def list_stored_steps(pipeline: Pipeline) -> list[StepBody]:
    """The steps of a stored pipeline as they were asked for."""
    return [StepBody.model_validate_json(json.dumps(step)) for step in json.loads(pipeline.document)["steps"]]

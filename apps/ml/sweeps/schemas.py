"""What a sweep asks for: its settings, and the job that its trials vary. The REST body and the stored document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field, ValidationError

from apps.core.canonical import encode_canonical_json
from apps.ml.sweeps.models import Sweep
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.serializers import (
    STRICT,
    InputBody,
    NeedsBody,
    Slot,
    build_body_errors,
    find_input_errors,
    find_spec_errors,
    merge_needs,
)
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.sweep.spec import SweepSettings


class SweepBody(SweepSettings):
    """A sweep: what it varies and looks for, and beside it the job that every trial is, as POST of a job has it."""

    model_config = STRICT

    kind: str = Field(max_length=40, description="Of the trials' jobs: a key of GET /api/v1/kinds.")
    spec: dict[str, Any] = Field(default_factory=dict, description="Of the jobs; the trials' values replace its own.")
    inputs: dict[Slot, InputBody] = Field(default_factory=dict, max_length=200, description="What fills each slot.")
    experiment: str = Field("", max_length=50, description="Of the runs; created if it does not exist.")
    name: str = Field("", description="For people; up to 100 characters.")
    priority: int = Field(0, description="Of the jobs: -100 to 100; higher starts first.")
    needs: NeedsBody | None = Field(None, description="Instead of what the kind asks of a node.")
    max_attempts: int | None = Field(None, description="Of each job: 1 to 20.")
    time_limit_seconds: int | None = Field(None, description="Of one attempt of a job; up to 30 days.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """Settings, and the job without a trial's values; its `name` is the sweep's."""

    settings: SweepSettings
    job: Submission
    idempotency_key: str | None = None

    def document(self) -> str:
        """Canonical JSON of everything that makes two requests the same, the key itself left out."""
        job = self.job
        return encode_canonical_json(
            {
                "settings": self.settings.model_dump(mode="json"),
                "job": {
                    "kind": job.kind,
                    "spec": dict(job.spec),
                    "inputs": [[i.slot, i.digest, i.job_id, i.job_slot] for i in job.inputs],
                    "register": dict(job.register),
                    "name": job.name,
                    "priority": job.priority,
                    "needs": asdict(job.needs) if job.needs else None,
                    "max_attempts": job.max_attempts,
                    "time_limit_seconds": job.time_limit_seconds,
                },
            }
        )


def load_request(sweep: Sweep) -> SweepRequest:
    """What was asked for, of a stored sweep."""
    document = json.loads(sweep.document)
    job = dict(document["job"])
    inputs = [InputSpec(slot=slot, digest=d, job_id=job_id, job_slot=s) for slot, d, job_id, s in job.pop("inputs")]
    needs = job.pop("needs")
    return SweepRequest(
        settings=SweepSettings.model_validate(document["settings"]),
        job=Submission(**job, inputs=inputs, needs=Needs(**needs) if needs else None),
    )


def read_sweep_request(data: Any, *, idempotency_key: str | None) -> SweepRequest:
    """What a POST of a sweep asks for. Invalid with every error that can be seen before it is checked whole."""
    try:
        body = SweepBody.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as failure:
        raise combine_errors(build_body_errors(failure, data)) from None
    errors = [fault for slot, filled in body.inputs.items() for fault in find_input_errors(slot, filled)]
    if errors:
        raise combine_errors(errors + find_spec_errors(data))
    return SweepRequest(
        settings=extract_settings(body),
        job=Submission(
            kind=body.kind,
            spec=body.spec,
            inputs=[
                InputSpec(slot=slot, digest=filled.digest or "", job_id=filled.job, job_slot=filled.slot or "")
                for slot, filled in body.inputs.items()
            ],
            register=build_register(body.experiment),
            name=body.name,
            priority=body.priority,
            needs=merge_needs(body.needs, body.kind),
            max_attempts=body.max_attempts,
            time_limit_seconds=body.time_limit_seconds,
        ),
        idempotency_key=idempotency_key,
    )


def build_register(experiment: str) -> Mapping[str, str]:
    return {"experiment": experiment} if experiment else {}


def extract_settings(body: SweepBody) -> SweepSettings:
    return SweepSettings(**{name: getattr(body, name) for name in SweepSettings.model_fields})

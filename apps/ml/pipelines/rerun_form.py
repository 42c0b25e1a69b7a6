"""The form of running a pipeline again from one step: the step's spec, as it was, to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.ml.pipelines.checks import build_unknown_step_error, find_descendants
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.schemas import list_stored_steps
from apps.ml.pipelines.services import rerun_from
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.scheduling.schedule_estimate import ScheduleEstimate, estimate_schedule
from apps.platform.jobs.spec_validation import combine_errors, parse_spec
from apps.platform.jobs.specforms.fields import FormItem
from apps.platform.jobs.specforms.spec_form import SpecForm


class RerunForm:
    """`bind(POST)` reads, `handle(op)` checks or runs again. Invalid for a step that the pipeline does not have."""

    def __init__(self, actor: Actor, pipeline: Pipeline, name: str) -> None:
        self.actor, self.pipeline = actor, pipeline
        steps = {step.name: step for step in list_stored_steps(pipeline)}
        if name not in steps:
            raise combine_errors(
                [build_unknown_step_error(name, "from", {step.name: step.kind for step in steps.values()})]
            )
        self.step = steps[name]
        below = find_descendants({step.name: step.parents() for step in steps.values()}, name)
        self.again = [step for step in steps if step in below]
        self.kept = [step for step in steps if step not in below]
        self.spec_form = SpecForm(self.step.kind, self.get_original_spec())
        self.status = 200

    def get_original_spec(self) -> dict[str, Any]:
        return parse_spec(self.step.kind, self.step.spec).model_dump(mode="json")

    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)

    def handle(self, op: str) -> Pipeline | None:
        """The new pipeline, if `op` submitted it; otherwise None, with the form changed or its errors told."""
        if op not in ("check", "submit", "ahead"):
            self.spec_form.apply(op)
            return None
        if self.spec_form.is_valid() and op == "submit":
            spec = parse_spec(self.step.kind, self.spec_form.spec(), strict=False).model_dump(mode="json")
            try:
                return rerun_from(
                    actor=self.actor, pipeline=self.pipeline, step=self.step.name, changes={self.step.name: spec}
                )[0]
            except Refused:
                raise
            except PlaneError as failure:
                self.spec_form.add_errors(failure.errors, prefix=f"/changes/{self.step.name}")
        self.status = 422 if op == "submit" else 200
        return None

    @property
    def items(self) -> list[FormItem]:
        return self.spec_form.items

    @property
    def error(self) -> str:
        return self.spec_form.error

    @property
    def problems(self) -> list[FormItem]:
        return self.spec_form.problems

    @cached_property
    def outlook(self) -> ScheduleEstimate:
        """Of the step's new job, were all that it waits for there."""
        kind = self.step.kind
        return estimate_schedule(self.actor, self.pipeline.project, kind, KINDS[kind].needs)

    @property
    def as_body(self) -> dict[str, Any]:
        """The same request as the body of a REST call: the changed spec whole, while it holds."""
        spec = self.spec_form.parsed()
        now = spec.model_dump(mode="json") if spec else self.spec_form.spec()
        changes = {} if now == self.get_original_spec() else {self.step.name: now}
        return {"from": self.step.name, "changes": changes}

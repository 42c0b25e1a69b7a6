"""The form of running a pipeline again from one step: the step's spec, as it was, to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.ml.pipelines.checks import descendants_of, unknown_step
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.schemas import steps_in
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
        steps = {step.name: step for step in steps_in(pipeline)}
        if name not in steps:
            raise combine_errors([unknown_step(name, "from", {one.name: one.kind for one in steps.values()})])
        self.step = steps[name]
        below = descendants_of({one.name: one.parents() for one in steps.values()}, name)
        self.again = [one for one in steps if one in below]
        self.kept = [one for one in steps if one not in below]
        self.spec_form = SpecForm(self.step.kind, self.spec_as_it_was())
        self.status = 200

    def spec_as_it_was(self) -> dict[str, Any]:
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
        changes = {} if now == self.spec_as_it_was() else {self.step.name: now}
        return {"from": self.step.name, "changes": changes}

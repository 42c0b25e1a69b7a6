"""The form of running a pipeline again from one step: the step's spec, as it was, to be changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.data.datasets.column_choices import offer_column
from apps.data.datasets.models import DatasetFile
from apps.data.datasets.versions.table_parts import find_part_versions
from apps.ml.pipelines.checks import build_unknown_step_error, find_descendants
from apps.ml.pipelines.models import Pipeline
from apps.ml.pipelines.schemas import list_stored_steps
from apps.ml.pipelines.services import rerun_from
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import JobInput
from apps.platform.jobs.spec_validation import combine_errors, parse_spec
from apps.platform.jobs.specforms.fields import FormItem
from apps.platform.jobs.submission import Submission
from apps.platform.jobs.submission_validation import resolve_needs
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.sections import (
    MODE,
    REFUSED,
    SIMPLE,
    STEPS,
    arrange_sections,
    build_group,
    build_mode_item,
    forget_ruled_out,
    keep_mode,
    open_faulty_groups,
)
from apps.web.new_job.train_modes import TrainMode


class RerunForm(JobForm):
    """The spec in the sections of a new job; its inputs and all else that a job has stay as they were.

    Invalid for a step that the pipeline does not have.
    """

    def __init__(self, actor: Actor, pipeline: Pipeline, name: str) -> None:
        self.pipeline = pipeline
        steps = {step.name: step for step in list_stored_steps(pipeline)}
        if name not in steps:
            raise combine_errors(
                [build_unknown_step_error(name, "from", {step.name: step.kind for step in steps.values()})]
            )
        self.step = steps[name]
        below = find_descendants({step.name: step.parents() for step in steps.values()}, name)
        self.again = [step for step in steps if step in below]
        self.kept = [step for step in steps if step not in below]
        super().__init__(actor, pipeline.project, self.step.kind)
        self.spec_form = self.build_spec_form(self.get_original_spec())
        self.values |= self.list_inputs()
        self.offer_columns()

    def list_files(self) -> list[DatasetFile]:
        """None to choose from: the inputs stay as they were."""
        return []

    def get_original_spec(self) -> dict[str, Any]:
        return parse_spec(self.step.kind, self.step.spec).model_dump(mode="json")

    def list_inputs(self) -> dict[str, str]:
        """What the step's job took: it decides which columns there are."""
        rows = JobInput.objects.filter(
            job__pipeline_step__pipeline=self.pipeline, job__pipeline_step__name=self.step.name
        )
        digests = {row.slot: str(row.artifact_id) for row in rows if row.artifact_id}
        tables = {slot: version.digest for slot, version in find_part_versions(self.project.pk, digests).items()}
        return {f"inputs/{slot}": digest for slot, digest in (digests | tables).items()}

    # -- in -------------------------------------------------------------------------------------------------------
    def bind(self, data: Mapping[str, str]) -> None:
        self.spec_form.bind(data)
        self.values[MODE] = str(data.get(MODE, ""))
        if self.layout.simple and self.values[MODE]:
            keep_mode(self.spec_form, self.layout, self.values[MODE])
        if self.spec_form.values.get("task") != self.get_original_spec().get("task"):
            forget_ruled_out(self.spec_form)  # with the same task, a spec that was not changed stays as it was
        self.offer_columns()

    def submit(self) -> Pipeline | None:
        """The new pipeline, or None with the errors told."""
        if not self.spec_form.is_valid():
            return None
        spec = parse_spec(self.key, self.spec_form.spec(), strict=False).model_dump(mode="json")
        try:
            return rerun_from(
                actor=self.actor, pipeline=self.pipeline, step=self.step.name, changes={self.step.name: spec}
            )[0]
        except Refused:
            raise
        except PlaneError as failure:
            self.spec_form.add_errors(failure.errors, prefix=f"/changes/{self.step.name}")
            return None

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def head(self) -> list[FormItem]:
        """Nothing but the way to clean: a rerun changes only the spec."""
        if not self.layout.simple:
            return []
        has_steps = bool(self.spec_form.spec().get(self.layout.steps.strip("/")))
        return [build_mode_item(self.values.get(MODE) or (STEPS if has_steps else SIMPLE))]

    @property
    def tail(self) -> list[FormItem]:
        return []

    @property
    def items(self) -> list[FormItem]:
        spec_items = self.spec_form.items
        if self.layout.target:
            offer_column(spec_items, self.layout.target, self.columns)
        resources = build_group("needs", _("Resources"), [], folded=True)
        items = arrange_sections(self.layout, self.head, spec_items, resources)
        items = [item for item in items if item.kind != "group" or item.items]
        return open_faulty_groups(items, was_refused=self.status == REFUSED)

    @property
    def modes(self) -> list[TrainMode]:
        return []

    @cached_property
    def typed_needs(self) -> Needs:
        """What the step asks of a node, with what follows from the spec."""
        needs = self.step.submission({}).needs
        return resolve_needs(self.kind, Submission(kind=self.key, spec={}, needs=needs), self.spec_form.parsed())

    @property
    def as_body(self) -> dict[str, Any]:
        """The same request as the body of a REST call: the changed spec whole, while it holds."""
        spec = self.spec_form.parsed()
        now = spec.model_dump(mode="json") if spec else self.spec_form.spec()
        changes = {} if now == self.get_original_spec() else {self.step.name: now}
        return {"from": self.step.name, "changes": changes}

"""Form of a new sweep: what it varies and looks for, around the form of the job that its trials are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from pydantic import BaseModel, Field

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.ml.experiments.models import Metric, Run
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.schemas import SweepRequest, build_register
from apps.ml.sweeps.services import create_sweep
from apps.platform.accounts.models import Project
from apps.platform.jobs.spec_validation import parse_model
from apps.platform.jobs.specforms.fields import FormItem, list_problem_items
from apps.platform.jobs.specforms.spec_form import NEW, SpecForm, escape_pointer
from apps.web.new_job.job_form import JobForm
from apps.web.new_job.train_modes import SWEEP, TrainMode, list_modes, restore_carried
from apps.web.templatetags.formats import format_duration
from deepseek.sweep.spec import SweepSettings

PREFIX = "/sweep"  # of the settings' fields: a spec may have a field of the same name
SPACE = f"{PREFIX}/space"
FIRST_PARAMETER = "float"
RARE = ("value", "startup_trials", "pruning_trials", "pruning_steps", "reduction_factor", "seed", "timeout_seconds")
PARAMETERS_LIST_ID, METRICS_LIST_ID = "tunable-fields", "reported-metrics"
RECENT_RUNS = 10  # whose metrics the form offers
EXPERIMENT = "register/experiment"


class SweepFields(BaseModel):
    """The settings below a name of their own."""

    sweep: SweepSettings = Field(title="Sweep")


class SweepForm(JobForm):
    """The form of a job with the settings of a sweep before it."""

    is_composite = True  # of several jobs

    def __init__(self, actor: Actor, project: Project, key: str) -> None:
        super().__init__(actor, project, key)
        self.settings_form = SpecForm(SweepFields)
        self.settings_form.rare = frozenset(f"{PREFIX}/{name}" for name in RARE)
        self.settings_form.datalists = {f"{SPACE}/*/name": PARAMETERS_LIST_ID, f"{PREFIX}/metric": METRICS_LIST_ID}
        self.settings_form.values["sweep"]["space"] = []
        self.settings_form.kinds[SPACE] = FIRST_PARAMETER
        self.settings_form.apply(f"add:{SPACE}")

    # -- in -------------------------------------------------------------------------------------------------------
    def bind(self, data: Mapping[str, str]) -> None:
        super().bind(data)
        self.bind_settings(data)

    def take_over(self, data: QueryDict) -> None:
        fields = restore_carried(data)
        if any(name.startswith(f"{PREFIX}/") for name in fields):
            self.bind_settings(fields)
        super().take_over(data)

    def bind_settings(self, data: Mapping[str, str]) -> None:
        self.settings_form.bind(data)
        if not self.settings_form.kinds.get(SPACE):  # "Choose" was left as it is
            self.settings_form.kinds[SPACE] = str(data.get(f"{NEW}{SPACE}") or FIRST_PARAMETER)

    def handle(self, op: str) -> Any:
        """The sweep, if `op` began one; otherwise None, with the form changed or its errors told."""
        if op.partition(":")[2].startswith(PREFIX):
            self.settings_form.apply(op)
            return None
        return super().handle(op)

    def check(self) -> None:
        super().check()
        self.settings_form.is_valid()
        for pointer in self.varied_fields:  # their values come from the sweep
            self.spec_form.errors.pop(pointer, None)

    def submit(self) -> Sweep | None:
        numbers = self.check_numbers()
        self.read_node_needs()
        try:
            settings = parse_model(SweepFields, self.settings_form.spec(), strict=False, prefix="").sweep
            if self.errors:
                self.spec_form.is_valid()
                return None
            job = self.build_submission(numbers)
            parsed = self.spec_form.parsed()
            if parsed is not None:
                job = replace(job, spec=self.spec_form.as_json(), strict=True)
            job = replace(job, register=build_register(self.values.get(EXPERIMENT, "")))
            request = SweepRequest(settings=settings, job=job)
            return create_sweep(actor=self.actor, project=self.project, request=request)[0]
        except Refused:
            raise
        except PlaneError as failure:
            self.refuse(failure)
            return None

    def refuse(self, failure: PlaneError) -> None:
        """Errors of the settings go to their form, the others where those of a job go."""
        names = set(SweepSettings.model_fields)
        own, shared = [], []
        for error in failure.errors:
            field = str(error.get("field") or "").removeprefix(PREFIX)
            is_own = field.split("/")[1:2] and field.split("/")[1] in names
            (own if is_own else shared).append({**error, "field": f"{PREFIX}{field}"} if is_own else error)
        self.settings_form.add_errors(own, prefix="")
        if shared:
            super().refuse(replace_errors(failure, shared))

    # -- out ------------------------------------------------------------------------------------------------------
    @property
    def varied_fields(self) -> list[str]:
        space = (self.settings_form.spec().get("sweep") or {}).get("space") or []
        return [str(parameter.get("name", "")) for parameter in space if isinstance(parameter, Mapping)]

    @property
    def parameter_names(self) -> list[str]:
        """Pointers to the fields of the kind's spec that hold one value."""
        return list(list_scalar_pointers(self.spec_form, self.spec_form.schema, ""))

    @property
    def metric_names(self) -> list[str]:
        """What the newest runs of this kind reported."""
        runs = Run.objects.visible_to(self.actor).filter(project=self.project, kind=self.key).order_by("-started_at")
        keys = Metric.objects.filter(run__in=list(runs.values_list("pk", flat=True)[:RECENT_RUNS]))
        return sorted({key for key in keys.values_list("key", flat=True) if not key.startswith("system/")})

    @property
    def schedule(self) -> None:  # type: ignore[override]
        """Not drawn: the trials have schedules of their own."""
        return

    @property
    def head(self) -> list[FormItem]:
        """A name, the inputs and the experiment: what trials make is registered by hand, once the best is known."""
        return [item for item in super().head if not item.pointer.startswith("register/") or item.pointer == EXPERIMENT]

    @property
    def groups_before_sections(self) -> list[FormItem]:
        group = self.settings_form.items[0]
        group.label = _("Sweep")
        return [group]

    @property
    def modes(self) -> list[TrainMode]:
        return list_modes(self.actor, self.project, self.key, current=SWEEP)

    @property
    def estimate(self) -> str:
        """How long one trial takes."""
        past = self.outlook.past
        return _("A trial takes about %(time)s.") % {"time": format_duration(past.seconds)} if past else ""

    @property
    def problems(self) -> list[FormItem]:
        return list_problem_items(self.items)

    @property
    def error(self) -> str:
        return f"{self.settings_form.error} {super().error}".strip()

    @property
    def as_body(self) -> dict[str, Any]:
        """The same sweep as the body of a REST call."""
        body = super().as_body
        register = body.pop("register", {})
        experiment = {"experiment": register[name]} if (name := "experiment") in register else {}
        return {**body, **experiment, **dict(self.settings_form.as_json().get("sweep") or {})}


def replace_errors(failure: PlaneError, errors: list[dict[str, Any]]) -> PlaneError:
    """The same kind of failure with these errors."""
    return type(failure)(failure.message, code=failure.code, field=failure.field, errors=errors)


def list_scalar_pointers(form: SpecForm, schema: dict[str, Any], pointer: str) -> list[str]:
    """Pointers below this one to numbers, choices, texts and switches."""
    resolved = form.resolve_schema(schema)
    if resolved.get("type") == "object" or "properties" in resolved:
        return [
            nested
            for name, child in resolved.get("properties", {}).items()
            for nested in list_scalar_pointers(form, child, f"{pointer}/{escape_pointer(name)}")
        ]
    is_scalar = "enum" in resolved or resolved.get("type") in ("integer", "number", "string", "boolean")
    return [pointer] if is_scalar and "const" not in resolved else []

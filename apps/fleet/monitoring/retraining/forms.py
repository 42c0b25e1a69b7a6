"""The form of a plan of retraining, on the page of its monitor."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from apps.core.actors import Actor
from apps.data.datasets.forms import FieldsForm
from apps.fleet.monitoring import services
from apps.fleet.monitoring.models import Monitor, RetrainingPlan
from apps.fleet.monitoring.retraining.serializers import RetrainingPlanBody
from apps.fleet.monitoring.retraining.states import DataMode
from apps.fleet.monitoring.services.retraining_plans import FRESH_SHARES, PLAN_RANGES, RETRAINING_CAUSES
from apps.fleet.monitoring.states import Cause
from apps.platform.jobs.specforms.fields import FormItem

PLAN_FIELDS = ("causes", "weekly_budget", "min_rows", "wait_hours", "mode", "fresh_share", "dataset")
USUAL = {
    "causes": "drop",
    "weekly_budget": "1",
    "min_rows": "100",
    "wait_hours": "24",
    "mode": "append",
    "fresh_share": "0.25",
    "dataset": "",
}


class RetrainingForm(FieldsForm):
    """Which alarms have the model trained again, and within which limits."""

    field_names = PLAN_FIELDS

    @classmethod
    def of(cls, plan: RetrainingPlan | None) -> RetrainingForm:
        if plan is None:
            return cls(USUAL)
        values = {name: format_number(getattr(plan, name)) for name in PLAN_FIELDS[1:-1]}
        dataset = plan.dataset.name if plan.dataset is not None else ""
        return cls({"causes": ",".join(plan.causes), **values, "dataset": dataset})

    def save(self, actor: Actor, monitor: Monitor) -> RetrainingPlan | None:
        values = {name: text.strip() for name, text in self.values.items() if text.strip()}
        lists = {"causes": values.get("causes", "").split(","), "dataset": values.get("dataset", "")}
        body = RetrainingPlanBody(data={**values, **lists})
        try:
            body.is_valid(raise_exception=True)
        except ValidationError:
            self.errors = {name: " ".join(map(str, texts)) for name, texts in body.errors.items()}
            return None
        plan: RetrainingPlan | None = self.attempt(
            lambda: services.set_retraining_plan(actor=actor, monitor=monitor, **body.validated_data)
        )
        return plan

    @property
    def items(self) -> list[FormItem]:
        labels = {str(value): str(label) for value, label in Cause.choices}
        every = ",".join(RETRAINING_CAUSES)
        choices_by_cause = {cause: labels[cause] for cause in RETRAINING_CAUSES} | {every: _("Every one")}
        chosen = self.values["causes"]
        if chosen and chosen not in choices_by_cause:  # several that a program chose
            choices_by_cause[chosen] = ", ".join(labels.get(cause, cause) for cause in chosen.split(","))
        modes = [(value, str(label)) for value, label in DataMode.choices]
        low, high = FRESH_SHARES
        share = {"low": f"{low:g}", "high": f"{high:g}"}
        return [
            self.build_item("causes", _("After alarms of"), control="select", choices=list(choices_by_cause.items())),
            self.build_range("weekly_budget", _("At most in seven days"), ""),
            self.build_range("min_rows", _("Labelled answers at least"), ""),
            self.build_range("wait_hours", _("Labels are awaited for"), _("hours")),
            self.build_item("mode", _("Trained on"), control="select", choices=modes, required=True),
            self.build_item(
                "fresh_share",
                _("Held back"),
                keys="decimal",
                required=True,
                limit=_("%(low)s to %(high)s") % share,
                doc=_("The newest part of the labelled answers: evaluated on, not trained on."),
            ),
            self.build_item(
                "dataset",
                _("Dataset of fresh data"),
                doc=_(
                    "Its newest version is trained on, and the sets of the gates say how good that is. Needed for "
                    "images and texts, which answers do not carry; empty: answers with labels."
                ),
            ),
        ]

    def build_range(self, name: str, label: str, unit: str) -> FormItem:
        low, high = PLAN_RANGES[name]
        limit = _("%(low)s to %(high)s") % {"low": low, "high": f"{high:,}"}
        return self.build_item(name, label, unit=unit, limit=limit, keys="numeric", required=True)


def format_number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

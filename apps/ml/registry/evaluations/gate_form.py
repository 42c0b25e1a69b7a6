"""The form of a gate: what decides first, then what a version is compared with, and what is rarely changed folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from apps.data.datasets.forms import FieldsForm
from apps.ml.registry.states import PRODUCTION
from apps.platform.jobs.specforms.fields import FormItem, list_problem_items


class GateForm(FieldsForm):
    """`values`: what a gate asks for, or what was typed, with `why` and `field` where it was refused."""

    field_names = ("gate", "set", "metric", "variant", "baseline", "margin", "confidence", "guard_slices")
    renamed_fields: Mapping[str, str] = {}

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        sets: Sequence[str],
        metrics: Sequence[str],
        versions: Sequence[str],
        versions_limit: str = "",
    ) -> None:
        super().__init__(values)
        self.sets, self.metrics, self.versions, self.versions_limit = sets, metrics, versions, versions_limit
        if values.get("field"):
            self.errors[values["field"]] = values["why"]
        else:
            self.error = values.get("why", "")

    @property
    def items(self) -> list[FormItem]:
        versions = [(PRODUCTION, _("What is in production")), *((number, f"v{number}") for number in self.versions)]
        if self.errors.get("baseline"):
            versions.insert(0, ("", _("Choose a version")))
        baseline = self.build_item(
            "baseline",
            _("Against"),
            control="select",
            required=True,
            choices=versions,
            limit=self.versions_limit,
        )
        if baseline.error:
            baseline.value = ""
        comparison = [
            baseline,
            self.build_item(
                "margin",
                _("Margin"),
                control="number",
                default="0",
                limit=_("Tolerated loss, in the unit of the metric."),
            ),
            self.build_item("confidence", _("Confidence"), control="number", unit="%", default="95"),
        ]
        rare = [
            self.build_item("variant", _("Variant"), limit=_("Empty: the form that was trained.")),
            self.build_item("guard_slices", _("Fail when a slice is worse"), control="checkbox", required=True),
        ]
        is_open = any(item.value or item.error for item in rare)
        return [
            self.build_item("gate", "", control="hidden"),
            self.build_item(
                "set",
                _("Evaluation set"),
                control="select",
                required=True,
                choices=[(name, name) for name in self.sets],
            ),
            self.build_item(
                "metric", _("Metric"), control="select", required=True, choices=[(name, name) for name in self.metrics]
            ),
            FormItem(kind="group", pointer="section-comparison", label=_("Comparison"), items=comparison),
            FormItem(kind="group", pointer="gate-rare", label=_("Advanced"), items=rare, folded=True, open=is_open),
        ]

    @property
    def problems(self) -> list[FormItem]:
        return list_problem_items(self.items)

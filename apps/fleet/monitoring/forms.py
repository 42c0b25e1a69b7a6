"""Forms of the monitoring pages. They only read text; the services decide, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from apps.core.actors import Actor
from apps.data.datasets.forms import FieldsForm
from apps.fleet.monitoring import services
from apps.fleet.monitoring.limits import RANGES
from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.serializers import MonitorRuleBody, NewMonitorBody
from apps.fleet.monitoring.states import Certainty, Correction, Measure, Rule
from apps.ml.observations.models import ObservationSource
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import FormItem

MAX_CHOICES = 500
RULE_FIELDS = (
    "name",
    "rule",
    "limit",
    "certainty",
    "reference",
    "window_hours",
    "lag_hours",
    "min_count",
    "silence_hours",
    "cooldown_hours",
    "watches_inputs",
    "drift_alpha",
    "drift_correction",
)
OPTIONAL = ("reference", "silence_hours")  # empty is null
USUAL = {
    "metric": Measure.ACCURACY.value,
    "rule": Rule.RELATIVE.value,
    "limit": "0.05",
    "certainty": Certainty.VALUE.value,
    "window_hours": "24",
    "lag_hours": "0",
    "min_count": "100",
    "cooldown_hours": "24",
    "watches_inputs": "true",
    "drift_alpha": "0.01",
    "drift_correction": Correction.HOLM.value,
}


class RuleForm(FieldsForm):
    """What may change of a monitor."""

    field_names: tuple[str, ...] = RULE_FIELDS
    renamed_fields: Mapping[str, str] = {}
    body: type[MonitorRuleBody] = MonitorRuleBody

    @classmethod
    def of(cls, monitor: Monitor) -> RuleForm:
        values = {name: getattr(monitor, name) for name in RULE_FIELDS}
        return cls({name: format_value(value) for name, value in values.items()})

    def read_body(self) -> dict[str, Any] | None:
        """The values as REST would take them; None with `errors` where one is none."""
        values = {name: text.strip() for name, text in self.values.items()}
        body = self.body(data={name: text or None for name, text in values.items() if text or name in OPTIONAL})
        try:
            body.is_valid(raise_exception=True)
        except ValidationError:
            self.errors = {name: " ".join(map(str, texts)) for name, texts in body.errors.items()}
            return None
        return dict(body.validated_data)

    def build_range(self, name: str, label: str, unit: str, doc: str = "") -> FormItem:
        low, high = RANGES[name]
        limit = _("%(low)s to %(high)s") % {"low": low, "high": f"{high:,}"}
        return self.build_item(
            name, label, unit=unit, limit=limit, doc=doc, keys="numeric", required=name not in OPTIONAL
        )

    @property
    def items(self) -> list[FormItem]:
        rules = [(value, str(label)) for value, label in Rule.choices]
        certainties = [(value, str(label)) for value, label in Certainty.choices]
        hours = _("hours")
        return [
            self.build_item("name", _("Name"), required=True, doc=_("Unique in the project.")),
            self.build_item(
                "limit",
                _("Worse by more than"),
                required=True,
                keys="decimal",
                # xgettext:no-python-format
                doc=_("0.05 is 5 % of the reference, or 0.05 from it."),
            ),
            self.build_item("rule", _("Limit is a"), control="select", choices=rules, required=True),
            self.build_item("certainty", _("Beyond the line is"), control="select", choices=certainties, required=True),
            self.build_item(
                "reference",
                _("Reference"),
                keys="decimal",
                doc=_("Empty: what the version that answers was registered with."),
            ),
            self.build_range("window_hours", _("Window"), hours),
            self.build_range("lag_hours", _("Labels are awaited for"), hours),
            self.build_range("min_count", _("Labelled answers at least"), ""),
            self.build_range("silence_hours", _("Silence after"), hours, _("Empty: silence is no alarm.")),
            self.build_range("cooldown_hours", _("Cool-down"), hours, _("After an alarm was closed.")),
            self.build_item(
                "watches_inputs",
                _("Watch inputs"),
                control="select",
                choices=[("true", _("yes")), ("false", _("no"))],
                doc=_("Features against the training data, and the stream of errors."),
            ),
            self.build_item(
                "drift_alpha",
                _("False alarms of inputs"),
                keys="decimal",
                required=True,
                doc=_("Probability in a window, over all features."),
            ),
            self.build_item(
                "drift_correction",
                _("Correction for many features"),
                control="select",
                choices=[(value, str(label)) for value, label in Correction.choices],
                required=True,
            ),
        ]

    def save(self, actor: Actor, monitor: Monitor) -> Monitor | None:
        body = self.read_body()
        if body is None:
            return None
        done: Monitor | None = self.attempt(lambda: services.update_monitor(actor=actor, monitor=monitor, **body))
        return done


class MonitorForm(RuleForm):
    """A new monitor of the project."""

    field_names = ("model", "metric", "source", "group", *RULE_FIELDS)
    body = NewMonitorBody

    def __init__(self, project: Project, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data if data is not None else USUAL)
        self.project = project

    @property
    def items(self) -> list[FormItem]:
        models = Model.objects.filter(project=self.project, deleted_at=None).order_by("name")
        sources = ObservationSource.objects.filter(project=self.project).order_by("name")
        model_names = [(name, name) for name in models.values_list("name", flat=True)[:MAX_CHOICES]]
        source_names = [(name, name) for name in sources.values_list("name", flat=True)[:MAX_CHOICES]]
        metrics = [(value, str(label)) for value, label in Measure.choices]
        name, *rule = super().items
        return [
            name,
            self.build_item("model", _("Model"), control="select", choices=model_names, required=True),
            self.build_item("metric", _("Metric"), control="select", choices=metrics, required=True),
            self.build_item("source", _("Source"), control="select", choices=[("", _("Every source")), *source_names]),
            self.build_item("group", _("Group of devices"), doc=_("Instead of a source.")),
            *rule,
        ]

    def create(self, actor: Actor) -> Monitor | None:
        body = self.read_body()
        if body is None:
            return None
        monitor: Monitor | None = self.attempt(
            lambda: services.create_monitor(actor=actor, project=self.project, **body)
        )
        return monitor


def format_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)

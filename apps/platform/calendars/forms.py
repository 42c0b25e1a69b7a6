"""The form of a schedule. It reads text; what is allowed the services decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.platform.accounts.forms import list_zone_choices
from apps.platform.accounts.models import Project
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.recurrence import MAX_CRON_LENGTH
from apps.platform.calendars.states import CatchUp, Overlap
from apps.platform.calendars.targets import SCHEDULE_TARGETS, list_target_keys

MAX_REQUEST_LENGTH = 100_000


def list_named_zones() -> list[tuple[str, Any]]:
    """Without the browser's own, which the dispatcher does not know."""
    return [choice for choice in list_zone_choices() if choice[0]]


def describe_examples(keys: Sequence[str]) -> str:
    """What a request of each of these targets may be."""
    targets = [SCHEDULE_TARGETS[key] for key in keys]
    rows = [f"{target.label}: {json.dumps(target.example, ensure_ascii=False)}" for target in targets]
    return gettext("JSON. %(examples)s") % {"examples": "; ".join(rows)}


class ScheduleForm(forms.Form):
    name = forms.CharField(max_length=60, label=_("Name"))
    cron = forms.CharField(
        max_length=MAX_CRON_LENGTH,
        label=_("Cron expression"),
        help_text=_("Minute, hour, day of month, month, day of week, for instance 30 2 * * mon-fri; or @daily."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "30 2 * * mon-fri"}),
    )
    timezone = forms.ChoiceField(choices=list_named_zones, label=_("Time zone"), initial="UTC")
    overlap = forms.ChoiceField(
        choices=Overlap.choices, label=_("If the previous one has not ended"), initial=Overlap.SKIP.value
    )
    catch_up = forms.ChoiceField(
        choices=CatchUp.choices, label=_("Missed while the plane is down"), initial=CatchUp.LAST.value
    )
    target = forms.ChoiceField(label=_("Submits"))
    request = forms.CharField(
        max_length=MAX_REQUEST_LENGTH,
        label=_("Request"),
        help_text=_("JSON, as the REST interface takes it. A template without a version takes the newest."),
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false", "class": "mono"}),
    )

    def __init__(self, *args: Any, project: Project | None, **options: Any) -> None:
        super().__init__(*args, **options)
        keys = list_target_keys(project)
        self.fields["target"].choices = [(key, SCHEDULE_TARGETS[key].label) for key in keys]  # type: ignore[attr-defined]
        self.fields["name"].help_text = _("Unique in the project.") if project else _("Unique on the plane.")
        if project is None:
            self.fields["request"].help_text = describe_examples(keys)

    def clean_request(self) -> dict[str, Any]:
        try:
            body = json.loads(self.cleaned_data["request"])
        except (ValueError, RecursionError) as failure:
            raise forms.ValidationError(gettext("This is no JSON: %(failure)s") % {"failure": failure}) from None
        if not isinstance(body, dict):
            raise forms.ValidationError(gettext("A request is a JSON object: {...}."))
        return body


def build_initial(schedule: Schedule) -> dict[str, Any]:
    """What the form of an existing schedule begins with."""
    names = ("name", "cron", "timezone", "overlap", "catch_up", "target")
    return {**{name: getattr(schedule, name) for name in names}, "request": format_request(schedule.request)}


def format_request(body: Any) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)

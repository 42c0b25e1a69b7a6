"""Forms of the observation pages. They only parse text; the services validate, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.data.datasets.forms import FieldsForm
from apps.ml.observations import services
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.presenters import list_kinds, list_tasks
from apps.ml.observations.queries import Period, parse_time
from apps.ml.observations.schemas import MAX_RETENTION_DAYS, DatasetBody, SourceBody, SourceChanges
from apps.platform.accounts.models import Project
from apps.platform.jobs.models import Job
from apps.platform.jobs.serializers import read_body
from apps.platform.jobs.specforms.fields import FormItem


class ObservationForm(FieldsForm):
    """`save` returns what the service made, or None with `errors` where something is wrong."""

    def read_number(self, name: str) -> float | str | None:
        """The number that was typed; the text itself where it is none, for the service to refuse."""
        text = self.values[name].strip()
        if not text:
            return None
        try:
            return int(text) if text.isdecimal() else float(text)
        except ValueError:
            return text

    @property
    def storage_items(self) -> list[FormItem]:
        return [
            self.build_item(
                "sampling_rate",
                _("Sampling rate"),
                required=True,
                limit=_("above 0, up to 1"),
                doc=_("The share of predictions that is kept, chosen by their ids."),
            ),
            self.build_item(
                "retention_days",
                _("Retention"),
                unit=_("days"),
                limit=_("1 to %(most)s days") % {"most": MAX_RETENTION_DAYS},
                doc=_("Rows and files older than this are deleted; the figures stay. Empty: nothing is deleted."),
            ),
        ]


class SourceForm(ObservationForm):
    field_names = ("name", "kind", "task", "sampling_rate", "retention_days")
    renamed_fields = {}

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data if data is not None else {"sampling_rate": "1", "kind": "endpoint"})

    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_item(
                "name",
                _("Name"),
                required=True,
                limit=_("1 to 50 lower-case letters, digits and hyphens"),
                doc=_("Part of the address; it stays."),
            ),
            self.build_item("kind", _("Kind"), control="select", required=True, choices=list_kinds()),
            self.build_item(
                "task",
                _("Task"),
                control="select",
                required=True,
                choices=list_tasks(),
                doc=_("How answers are compared with labels: right or wrong, by the error, or not at all."),
            ),
            *self.storage_items,
        ]

    def save(self, actor: Actor, project: Project) -> ObservationSource | None:
        body = {
            **{name: self.values[name].strip() for name in ("name", "kind", "task")},
            "sampling_rate": self.read_number("sampling_rate"),
            "retention_days": self.read_number("retention_days"),
        }

        def write() -> ObservationSource:
            return services.create_source(actor=actor, project=project, body=read_body(SourceBody, body))

        return self.attempt(write)


class SettingsForm(ObservationForm):
    field_names = ("sampling_rate", "retention_days")

    @classmethod
    def of(cls, source: ObservationSource) -> SettingsForm:
        days = "" if source.retention_days is None else source.retention_days
        return cls({"sampling_rate": f"{source.sampling_rate:g}", "retention_days": days})

    @property
    def items(self) -> list[FormItem]:
        return self.storage_items

    def save(self, actor: Actor, source: ObservationSource) -> ObservationSource | None:
        body = {name: self.read_number(name) for name in self.field_names}

        def write() -> ObservationSource:
            return services.update_source(actor=actor, source=source, changes=read_body(SourceChanges, body))

        return self.attempt(write)


class PeriodForm(ObservationForm):
    """A dataset version of a period."""

    field_names = ("dataset", "since", "until", "model_version", "variant", "shadow", "labelled_only", "features")

    def __init__(self, data: Mapping[str, Any] | None = None, versions: list[tuple[str, int]] | None = None) -> None:
        super().__init__(data)
        self.versions = versions or []

    @classmethod
    def of(cls, source: ObservationSource, period: Period, chosen: str, versions: list[tuple[str, int]]) -> PeriodForm:
        values = {
            "dataset": f"{source.name}-observations"[:50],
            "since": format_time(period.since),
            "until": format_time(period.until),
            "model_version": chosen,
        }
        return cls(values, versions)

    @property
    def items(self) -> list[FormItem]:
        time = _("for instance 2026-01-31T08:00:00+00:00")
        versions = [("", _("Every version"))] + [
            (f"{name}:{number}", f"{name} v{number}") for name, number in self.versions
        ]
        return [
            self.build_item(
                "dataset",
                _("Dataset"),
                required=True,
                limit=_("1 to 50 lower-case letters, digits and hyphens"),
                doc=_("A new name makes a dataset; a known one gets a new version."),
            ),
            self.build_item("since", _("From"), required=True, doc=time),
            self.build_item("until", _("Until"), required=True, doc=time),
            self.build_item("model_version", _("Version"), control="select", choices=versions, default=_("every")),
            self.build_item("variant", _("Variant"), doc=_("Empty: every variant.")),
            self.build_item(
                "features",
                _("Features"),
                control="select",
                required=True,
                choices=[("columns", _("a column for each")), ("json", _("one column of JSON"))],
            ),
            self.build_item("labelled_only", _("Labelled only"), control="checkbox", required=True),
            self.build_item("shadow", _("Of candidates in shadow"), control="checkbox", required=True),
        ]

    def save(self, actor: Actor, source: ObservationSource) -> Job | None:
        def write() -> Job:
            model, _colon, number = self.values["model_version"].rpartition(":")
            body = read_body(
                DatasetBody,
                {
                    "source": source.name,
                    "dataset": self.values["dataset"].strip(),
                    "since": parse_local_time(self.values["since"], "since").isoformat(),
                    "until": parse_local_time(self.values["until"], "until").isoformat(),
                    "model": model,
                    "version": int(number) if number.isdecimal() else None,
                    "variant": self.values["variant"].strip(),
                    "shadow": bool(self.values["shadow"]),
                    "labelled_only": bool(self.values["labelled_only"]),
                    "features": self.values["features"] or "columns",
                },
            )
            return services.create_dataset_version(
                actor=actor, source=source, dataset=body.dataset, spec=body.build_spec()
            )

        return self.attempt(write)


def format_time(at: datetime) -> str:
    return str(timezone.localtime(at).replace(microsecond=0).isoformat())


def parse_local_time(text: str, field: str) -> datetime:
    """A time without an offset is in the time zone of the reader."""
    return parse_time(text.strip(), field, timezone.get_current_timezone())

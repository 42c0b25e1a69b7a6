"""The form that starts a recall. It only parses text; the service validates, and errors stand beside their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.data.datasets.forms import FieldsForm
from apps.fleet.recalls import services
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.subjects import Subject
from apps.platform.accounts.models import Project
from apps.platform.jobs.specforms.fields import FormItem


class RecallForm(FieldsForm):
    field_names = ("reason", "note", "exact_only", "quarantine")
    renamed_fields: Mapping[str, str] = {}

    def __init__(self, subject: Subject, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.subject = subject

    def save(self, actor: Actor, project: Project) -> Recall | None:
        recall: Recall | None = self.attempt(
            lambda: services.start_recall(
                actor=actor,
                project=project,
                subject=self.subject,
                reason=self.values["reason"].strip(),
                note=self.values["note"].strip(),
                exact_only=self.values["exact_only"] == "true",
                quarantine=self.values["quarantine"] == "true",
            )
        )
        return recall

    @property
    def items(self) -> list[FormItem]:
        items = [
            self.build_item(
                "reason",
                _("Reason"),
                required=True,
                limit=_("1 to 400 characters"),
                doc=_("Recorded in the audit trail, and shown on everything that is blocked, revoked or rolled back."),
            ),
            self.build_item(
                "note", _("Description of the fault"), control="textarea", doc=_("What is known of it so far.")
            ),
        ]
        if self.subject.row:
            items.append(
                self.build_item(
                    "exact_only",
                    _("Only what certainly contains the row"),
                    control="checkbox",
                    doc=_("Versions whose cleaning did not record the origins of rows are left alone."),
                )
            )
        quarantine = self.build_item(
            "quarantine",
            _("Quarantine devices without a previous release"),
            control="checkbox",
            doc=_("They go on running it, and get nothing more until an approver reinstates them."),
        )
        return [*items, quarantine]

"""Whether a person may take files with personal columns out of the plane, and the record of it."""

from __future__ import annotations

from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Refused
from apps.core.policy import InProject
from apps.data.datasets.models import DatasetFile
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.queries import select_present_columns
from apps.data.personal_data.services import MAX_PURPOSE, MIN_PURPOSE
from apps.platform.artifacts.models import Holding
from apps.platform.audit.services import record
from deepseek.messages import N_

PEOPLE = frozenset({"user", "service_account"})  # the plane's own processes, nodes and devices do as jobs say


def check_personal_use(actor: Actor, holding: Holding, purpose: str) -> None:
    """Raise Refused unless the actor may use the personal columns of this file, within its retention, and says why.

    By the bytes: a file that is also in a marked dataset of the project is checked under any address.
    """
    if actor.kind not in PEOPLE:
        return
    marks = list(PersonalColumn.objects.filter(dataset__project=holding.project_id).order_by("dataset_id", "column"))
    if not marks:
        return
    columns, last_day = find_marked_columns(marks, holding)
    if not columns or last_day is None:
        return
    scope = InProject(holding.project_id)
    policy.require(actor, "personal_data.use", scope)
    target = {
        "action": "personal_data.use",
        "project_id": holding.project_id,
        "object_type": "artifact",
        "object_id": holding.artifact_id,
    }
    if last_day < timezone.localdate().isoformat():
        raise Refused(
            "The retention of the personal data in this file ended on {day}.",
            day=last_day,
            code="personal_data_overdue",
            hint=N_("Delete the version, or let an approver set a later day."),
            **target,
        )
    if not MIN_PURPOSE <= len(purpose) <= MAX_PURPOSE:
        raise Refused(
            "The file has personal data ({columns}): name the purpose.",
            columns=", ".join(columns)[:200],
            code="purpose_missing",
            field="purpose",
            limit=f"{MIN_PURPOSE} to {MAX_PURPOSE}",
            hint=N_("Add ?purpose=... to the address, or send the header X-Purpose."),
            **target,
        )
    record(
        actor=actor,
        action="personal_data.use",
        object_type="artifact",
        object_id=holding.artifact_id,
        project_id=holding.project_id,
        reason=purpose,
        after={"columns": columns},
    )


def find_marked_columns(marks: list[PersonalColumn], holding: Holding) -> tuple[list[str], str | None]:
    """The marked columns of the versions that have these bytes, and the first of their last days."""
    by_dataset: dict[int, dict[str, str]] = {}
    for mark in marks:
        by_dataset.setdefault(mark.dataset_id, {})[mark.column] = mark.retain_until.isoformat()
    files = DatasetFile.objects.filter(
        artifact=holding.artifact_id, version__dataset__in=by_dataset, version__deleted_at=None
    ).select_related("version")
    days: dict[str, str] = {}
    for file in files.only("version__dataset_id", "version__columns")[:100]:
        marked = by_dataset[file.version.dataset_id]
        days |= {name: marked[name] for name in select_present_columns(file.version, set(marked))}
    return sorted(days), min(days.values(), default=None)

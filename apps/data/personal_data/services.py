"""Mark columns of datasets as personal data, change marks and take them away."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import validate_choice
from apps.data.datasets.models import Dataset
from apps.data.personal_data.categories import Category, LegalBasis
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.queries import get_newest_version, list_column_names
from apps.platform.audit.services import record
from deepseek.messages import N_

MIN_PURPOSE, MAX_PURPOSE = 3, 200
MAX_REASON = 400
FIELDS = ("category", "purpose", "legal_basis", "retain_until")


def mark_column(
    *,
    actor: Actor,
    dataset: Dataset,
    column: str,
    category: str,
    purpose: str,
    legal_basis: str,
    retain_until: date,
) -> PersonalColumn:
    """Mark a column of the dataset's newest version, or change its mark, which takes an approver. Raises Invalid.

    `retain_until`: the last day of use; from the next day on no person downloads the files.
    """
    policy.require(actor, "personal_data.mark", dataset)
    purpose = purpose.strip()
    validate_choice("category", category, Category.values, required=True)
    validate_choice("legal_basis", legal_basis, LegalBasis.values, required=True)
    check_purpose(purpose)
    if retain_until < timezone.localdate():
        raise Invalid(
            "{day} is over.",
            day=retain_until.isoformat(),
            code="retention_over",
            field="retain_until",
            hint=N_("Name a last day of use from today on."),
        )
    values: dict[str, Any] = {
        "category": category,
        "purpose": purpose,
        "legal_basis": legal_basis,
        "retain_until": retain_until,
    }
    with transaction.atomic():
        mark = PersonalColumn.objects.select_for_update(of=("self",)).filter(dataset=dataset, column=column).first()
        if mark is None:
            check_column(dataset, column)
            mark = PersonalColumn(dataset=dataset, column=column)
            before = None
        else:
            policy.require(actor, "personal_data.change", dataset)
            before = describe_mark(mark)
        for name, value in values.items():
            setattr(mark, name, value)
        if before == describe_mark(mark):
            return mark
        mark.marked_by, mark.marked_at = actor.label[:200], timezone.now()
        mark.save()
        record(actor=actor, action="personal_data.mark", obj=mark, before=before, after=describe_mark(mark))
    return mark


def unmark_column(*, actor: Actor, mark: PersonalColumn, reason: str) -> None:
    """Take a mark away; the trail keeps it. Raises Invalid without a reason."""
    policy.require(actor, "personal_data.change", mark.dataset)
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise Invalid(
            "A reason of 1 to {most} characters is needed.",
            most=MAX_REASON,
            code="reason_missing",
            field="reason",
            limit=MAX_REASON,
            hint=N_("Say why this is no personal data."),
        )
    with transaction.atomic():
        record(
            actor=actor,
            action="personal_data.unmark",
            obj=mark,
            reason=reason,
            before={"column": mark.column, **describe_mark(mark)},
        )
        mark.delete()


def describe_mark(mark: PersonalColumn) -> dict[str, Any]:
    values = {name: getattr(mark, name) for name in FIELDS}
    return {"column": mark.column, **values, "retain_until": values["retain_until"].isoformat()}


def check_purpose(purpose: str) -> None:
    if not MIN_PURPOSE <= len(purpose) <= MAX_PURPOSE:
        raise Invalid(
            "The purpose has {count} characters.",
            count=len(purpose),
            code="purpose_length",
            field="purpose",
            limit=f"{MIN_PURPOSE} to {MAX_PURPOSE}",
            hint=N_("Say in a few words what the data is used for."),
        )


def check_column(dataset: Dataset, column: str) -> None:
    version = get_newest_version(dataset)
    names = list_column_names(version) if version else []
    if column not in names or len(column) > 200:
        raise Invalid(
            "The newest version of {dataset} has no column {column!r}.",
            dataset=dataset.name,
            column=column[:60],
            code="column_unknown",
            field="column",
            limit=", ".join(names)[:500],
            hint=N_("Take one of its columns."),
        )

"""Security labels of datasets. The security administrator alone sets them."""

from __future__ import annotations

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.data.datasets.models import Dataset
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.security_labels import check_label_reason, get_label_name, parse_label
from apps.platform.accounts.services.labels import refuse_no_change
from apps.platform.audit.services import record, seal_now


def set_dataset_label(*, actor: Actor, dataset: Dataset, label: str, reason: str = "") -> Dataset:
    """Who is cleared for less sees the dataset, its versions, bytes, repository and lineage no longer, at once.

    Invalid for an unknown label, or without a reason where it is lowered; Conflict when nothing would change.
    """
    policy.require(actor, "dataset.set_label", dataset.project)
    require_confirmed(actor, "dataset.set_label", project_id=dataset.project_id)
    level = parse_label(label, field="/label")
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        before = dataset.security_label
        refuse_no_change(before, level, dataset.name)
        reason = check_label_reason(reason, required=level < before)
        Dataset.objects.filter(pk=dataset.pk).update(security_label=level)
        dataset.security_label = level
        record(
            actor=actor,
            action="dataset.set_label",
            obj=dataset,
            reason=reason,
            before={"label": get_label_name(before)},
            after={"label": get_label_name(level)},
        )
        seal_now()
    return dataset

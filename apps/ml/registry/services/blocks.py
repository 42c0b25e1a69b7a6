"""Block versions, and lift a block: the one moves nothing by itself, the other takes an approver."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.ml.registry.blocks import find_block, find_blocked
from apps.ml.registry.models import Model, ModelVersion, VersionBlock
from apps.ml.registry.services.validation import check_text
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.audit.models import AuditRecord
from deepseek.messages import N_

REASON_LENGTH = 2000


def block_versions(
    *, actor: Actor, project: Project, versions: Sequence[ModelVersion], reason: str
) -> list[ModelVersion]:
    """Let these versions of the project be neither promoted, released, served nor downloaded; those that are blocked
    already stay as they are. Returns the newly blocked. Four statements, however many there are."""
    policy.require(actor, "model.block", project)
    check_text("reason", reason, REASON_LENGTH, required=True)
    with transaction.atomic():
        models = Model.objects.filter(pk__in={version.model_id for version in versions}, project=project)
        list(models.order_by("pk").select_for_update().values_list("pk", flat=True))  # as what moves an alias does
        blocked = find_blocked([version.pk for version in versions])
        new = [version for version in versions if version.pk not in blocked]
        VersionBlock.objects.bulk_create(
            VersionBlock(version=version, reason=reason, blocked_by=actor.label) for version in new
        )
        AuditRecord.objects.bulk_create(
            audit.draft(
                actor=actor,
                action="model.block",
                obj=version,
                project_id=project.pk,
                reason=reason,
                after={"model": version.model.name, "version": version.number},
                digests={"version": version.digest},
            )
            for version in new
        )
        audit.seal_now()
    return new


def lift_block(*, actor: Actor, version: ModelVersion, reason: str) -> VersionBlock:
    """Let a blocked version be used again; what was revoked and rolled back stays so. Raises Conflict `not_blocked`."""
    policy.require(actor, "model.unblock", version.model)
    require_confirmed(actor, "model.unblock", project_id=version.project_id)
    check_text("reason", reason, REASON_LENGTH, required=True)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)
        block = find_block(version)
        if block is None:
            raise Conflict(
                "{version} is not blocked.",
                version=version,
                code="not_blocked",
                field="version",
                hint=N_("There is nothing to lift."),
            )
        block.lifted_by, block.lifted_at, block.lift_reason = actor.label, timezone.now(), reason
        block.save(update_fields=["lifted_by", "lifted_at", "lift_reason"])
        audit.record(
            actor=actor,
            action="model.unblock",
            obj=version,
            reason=reason,
            before={"blocked": block.reason},
            after={"model": version.model.name, "version": version.number},
            digests={"version": version.digest},
        )
        audit.seal_now()
    return block

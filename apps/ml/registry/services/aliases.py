"""The moves of aliases: set by hand, promoted by an approval, rolled back, taken away."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Refused, StaleState
from apps.ml.registry.alias_names import is_like_protected
from apps.ml.registry.blocks import find_rollback, require_unblocked
from apps.ml.registry.gates.verdicts import record_and_require_gates
from apps.ml.registry.models import Alias, AliasMove, Model, ModelVersion
from apps.ml.registry.promotion.allowance import require_allowed_losses
from apps.ml.registry.promotion.facts import build_promotion_facts, find_missing_bytes
from apps.ml.registry.services.validation import ALIAS_LENGTH, check_alias, check_client_alias, check_text
from apps.ml.registry.states import PRODUCTION, PROTECTED, SUBJECT, MoveKind
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval
from apps.platform.artifacts.services import Damaged
from apps.platform.audit import services as audit
from deepseek.messages import N_, Message


def set_alias(*, actor: Actor, version: ModelVersion, name: str, reason: str = "", by_client: bool = False) -> Alias:
    """Let an alias that is not protected point to this version; the same again changes nothing.

    `by_client`: MLflow's clients may name it as its reference server lets them. Raises Refused (`alias_protected`) for
    `production`, Invalid for a name that cannot be one.
    """
    policy.require(actor, "model.set_alias", version.model)
    refuse_protected(version, name)  # first: what is refused is recorded, whatever else is wrong with the name
    (check_client_alias if by_client else check_alias)(name)
    check_text("reason", reason, 2000)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)  # moves of one model wait for each other
        require_there(version)
        require_unblocked(version)
        existing = Alias.objects.select_related("version__model").filter(model=version.model, name=name).first()
        if existing is not None and existing.version_id == version.pk:
            return existing
        before = existing.version if existing else None
        move = AliasMove(alias=name, kind=MoveKind.SET, from_version=before, to_version=version, reason=reason)
        return move_alias(actor, move)


def remove_alias(*, actor: Actor, model: Model, name: str) -> bool:
    """Let an alias that is not protected point to nothing; False if it did. The trail keeps where it had pointed."""
    policy.require(actor, "model.set_alias", model)
    if name.lower() in PROTECTED:  # one that only looks like it may go: an earlier version let it in
        raise build_alias_protected_error(model, name)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        existing = Alias.objects.select_related("version").filter(model=model, name=name).first()
        if existing is None:
            return False
        existing.delete()
        audit.record(
            actor=actor,
            action="model.remove_alias",
            obj=existing.version,
            before={"model": model.name, "alias": name, "version": existing.version.number},
        )
    return True


def refuse_protected(obj: Model | ModelVersion, name: str) -> None:
    """`Production` too, and what only looks like it: people would take it for the other."""
    if is_like_protected(name[:ALIAS_LENGTH]):
        raise build_alias_protected_error(obj, name)


def build_alias_protected_error(obj: Model | ModelVersion, name: str) -> Refused:
    return Refused(
        Message("The alias {name} moves only by an approval.", name=name)
        if name.lower() in PROTECTED
        else Message("The alias {name!a} looks like one that moves only by an approval.", name=name[:60]),
        code="alias_protected",
        action="model.set_alias",
        field="alias",
        limit=f"any name that cannot be taken for {', '.join(sorted(PROTECTED))}",
        hint=N_("Request a promotion: POST .../versions/<n>/promote."),
        project_id=obj.project_id,
        **policy.build_audit_reference(obj),
    )


def require_there(version: ModelVersion) -> None:
    """Raise StaleState for a version that was deleted since it was read; call it with its model locked."""
    if not ModelVersion.objects.filter(pk=version.pk, deleted_at=None).exists():
        raise StaleState(
            "{version} was deleted meanwhile.", version=version, field="version", hint=N_("List the versions again.")
        )


def request_promotion(
    *, actor: Actor, version: ModelVersion, comment: str = "", deadline_hours: int | None = None
) -> Approval:
    """Ask the approvers to let `production` point to this version. Reads the bytes of every variant first.

    Raises Conflict where it points there already, where one is pending, or where a gate does not let it through
    (`gate_failed`, `gate_not_evaluated`...) or a variant lost more accuracy than allowed (`accuracy_lost`); Damaged
    where bytes are not whole.
    """
    policy.require(actor, "model.request_promotion", version.model)
    if Alias.objects.filter(model=version.model, name=PRODUCTION, version=version).exists():
        raise Conflict(
            "{version} is in production already.",
            version=version,
            code="already_in_production",
            field="version",
            hint=N_("Ask for another version."),
        )
    if version.is_empty:
        raise Conflict(
            "{version} has no files here, so there are no bytes to approve.",
            version=version,
            code="version_empty",
            field="version",
            hint=N_("Register a version whose source lies in this plane."),
        )
    require_unblocked(version)
    missing = find_missing_bytes(version)
    if missing is not None:
        raise Damaged(missing)
    require_allowed_losses(version)
    record_and_require_gates(actor, version)
    return request_approval(
        actor=actor,
        project=version.model.project,
        subject_type=SUBJECT,
        subject_id=version.pk,
        title=f"{version} to {PRODUCTION}",
        facts=build_promotion_facts(version, deep=False),
        comment=comment,
        deadline_hours=deadline_hours,
    )


def promote(*, actor: Actor, version: ModelVersion, approval: Approval, current: int | None) -> Alias:
    """Let `production` point to an approved version, if it still points to the version numbered `current`.

    For the deciding vote, inside its transaction. Raises StaleState if production has moved meanwhile. Gates are not
    evaluated here: `request_promotion` requires them, and their verdicts are facts of the approval, compared before.
    """
    policy.require(actor, "approval.decide", version.model)
    require_confirmed(actor, "approval.decide", project_id=version.project_id)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)
        require_there(version)
        require_unblocked(version)
        alias_row = Alias.objects.select_related("version__model").filter(model=version.model, name=PRODUCTION).first()
        before = alias_row.version if alias_row else None
        if (before.number if before else None) != current:
            raise build_alias_moved_error()
        move = AliasMove(alias=PRODUCTION, kind=MoveKind.PROMOTE, from_version=before, to_version=version)
        move.approval, move.reason = approval, approval.comment
        alias = move_alias(actor, move)
        audit.seal_now()
    return alias


def roll_back(*, actor: Actor, model: Model, alias: str = PRODUCTION, reason: str) -> AliasMove:
    """Let the alias point to its previous holder again, the nearest that is not blocked, once the bytes of that one's
    variants have been read whole.

    The stack of holders loses its top: a second rollback goes to what was before that one. Recorded with the approval
    that had put the holder there. Raises Conflict `nothing_to_roll_back`, Damaged, StaleState.
    """
    policy.require(actor, "model.roll_back", model)
    require_confirmed(actor, "model.roll_back", project_id=model.project_id)
    check_text("reason", reason, 2000, required=True)
    top, target = find_rollback(model, alias)
    if top is None or target is None:
        raise Conflict(
            "There is nothing to roll {alias} of {model} back to.",
            alias=alias,
            model=model,
            code="nothing_to_roll_back",
            field="alias",
            limit="a holder before this one",
            hint=N_("Request the promotion of another version."),
        )
    missing = find_missing_bytes(target.to_version)  # outside the transaction: it may take minutes
    if missing is not None:
        raise Damaged(missing)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        if find_rollback(model, alias) != (top, target):
            raise build_alias_moved_error()
        move = AliasMove(alias=alias, kind=MoveKind.ROLLBACK, from_version=top.to_version, to_version=target.to_version)
        move.origin, move.approval, move.reason = target, target.approval, reason
        move_alias(actor, move)
        audit.seal_now()
    return move


ACTIONS = {
    MoveKind.SET: "model.set_alias",
    MoveKind.PROMOTE: "model.promote",
    MoveKind.ROLLBACK: "model.roll_back",
}


def move_alias(actor: Actor, move: AliasMove) -> Alias:
    """Carry a move out: the alias by compare-and-set on where it points, its history and its record."""
    old, new = move.from_version, move.to_version
    move.model, move.by = new.model, actor.label
    if old is None:
        try:
            with transaction.atomic():
                alias = Alias.objects.create(model=new.model, name=move.alias, version=new)
        except IntegrityError:
            raise build_alias_moved_error() from None
    else:
        aliases = Alias.objects.filter(model=new.model, name=move.alias, version=old)
        if not aliases.update(version=new):
            raise build_alias_moved_error()
        alias = Alias.objects.select_related("version__model").get(model=new.model, name=move.alias)
    move.save()
    audit.record(
        actor=actor,
        action=ACTIONS[MoveKind(move.kind)],
        obj=new,
        reason=move.reason,
        before={"version": old.number if old else None},
        after={"model": new.model.name, "alias": move.alias, "version": new.number, "approval": move.approval_id},
        digests={"version": new.digest, **({"before": old.digest} if old else {})},
    )
    return alias


def build_alias_moved_error() -> StaleState:
    return StaleState("The alias has moved meanwhile.", field="alias", hint=N_("Read it again and decide anew."))

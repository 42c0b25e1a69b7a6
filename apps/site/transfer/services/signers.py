"""Whose signatures count: a key is proposed by one person and trusted by the approvers of the project."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Invalid
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval, void_requests
from apps.platform.approvals.validation import validate_text
from apps.platform.audit.services import change_state, record, seal_now
from apps.site.transfer.faults import BUNDLE_FAULTS, convert_fault
from apps.site.transfer.models import BundleSigner
from apps.site.transfer.states import SignerState
from deepseek.bundles.signatures import TrustedSigner, compute_fingerprint, identify_person
from deepseek.bundles.signer_files import parse_signer
from deepseek.bundles.spec import PlaneRef
from deepseek.messages import N_
from deepseek.signing.keys import decode_public_key, encode_public_key

SUBJECT = "bundle_signer"
DEFAULT_VALID_DAYS, MAX_VALID_DAYS = 365, 1095


def propose_signer(
    *,
    actor: Actor,
    project: Project,
    source: PlaneRef,
    document: str,
    comment: str = "",
    valid_days: int = DEFAULT_VALID_DAYS,
    replaces: BundleSigner | None = None,
) -> tuple[BundleSigner, Approval]:
    """Ask the approvers to trust a key for bundles of `source`, for so many days from now. `document`: the .pub.json of
    the person. `replaces`: an older key of the same person, which counts no more once this one is trusted.

    Raises Invalid `signer_malformed`, `bad_valid_days`, `signer_not_replaceable`, Conflict `signer_exists`, and what
    asking for an approval raises.
    """
    policy.require(actor, "bundle_signer.propose", project)
    if not 1 <= valid_days <= MAX_VALID_DAYS:
        raise Invalid(
            "A key cannot be trusted for {days} days.",
            days=valid_days,
            code="bad_valid_days",
            field="/valid_days",
            limit=f"1 to {MAX_VALID_DAYS}",
            hint=N_("Propose the next key of the person before this one expires."),
        )
    try:
        signer = parse_signer(document)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
    if replaces is not None:
        check_replaceable(replaces, project, source, signer)
    try:
        with transaction.atomic():
            row = BundleSigner.objects.create(
                project=project,
                source_id=source.id,
                source_name=source.name,
                person=signer.person,
                public_key=encode_public_key(signer.public_key),
                key_id=signer.key_id,
                fingerprint=compute_fingerprint(signer.public_key),
                proposed_by=actor.label[:200],
                expires_at=timezone.now() + timedelta(days=valid_days),
                replaces=replaces,
            )
            record(actor=actor, action="bundle_signer.propose", obj=row, after=build_signer_facts(row))
            approval = request_approval(
                actor=actor,
                project=project,
                subject_type=SUBJECT,
                subject_id=row.pk,
                title=f"Trust the key of {row.person} for bundles of {source.name}"[:200],
                facts=build_signer_facts(row),
                comment=comment,
            )
    except IntegrityError:
        raise Conflict(
            "The key of {person} is proposed or trusted for this source already.",
            person=signer.person,
            code="signer_exists",
            field="/signer",
            hint=N_("Look at the list of signers."),
        ) from None
    return row, approval


def check_replaceable(old: BundleSigner, project: Project, source: PlaneRef, new: TrustedSigner) -> None:
    """Raise Invalid `signer_not_replaceable` unless it is a trusted key of the same person for the same source."""
    is_same = identify_person(old.person) == identify_person(new.person)
    if old.project_id == project.pk and old.source_id == source.id and is_same and old.state == SignerState.TRUSTED:
        return
    raise Invalid(
        "The key of {person} cannot be replaced by one of {other}.",
        person=old.person,
        other=new.person,
        code="signer_not_replaceable",
        field="/replaces",
        limit=N_("a trusted key of the same person for the same source"),
        hint=N_("Propose the key by itself, and revoke the other one."),
    )


def build_signer_facts(row: BundleSigner) -> dict[str, Any]:
    """What approvers decide about: whose key, of which plane, with which fingerprint."""
    key = decode_public_key(row.public_key)
    lasts = {"expires_at": row.expires_at.isoformat()} if row.expires_at else {}
    old = {"replaces": row.replaces.fingerprint} if row.replaces else {}
    return {
        **lasts,
        **old,
        "person": row.person,
        "fingerprint": compute_fingerprint(key),  # of the key itself, whatever the row says of it
        "source": {"id": row.source_id, "name": row.source_name},
        "state": row.state,
    }


def trust_signer(*, actor: Actor, signer: BundleSigner, approval: Approval) -> BundleSigner:
    """What an approval carries out: the key counts from now on, and the one that it replaces no more. Raises Conflict
    `signer_expired`."""
    if signer.expires_at is not None and signer.expires_at <= timezone.now():
        raise Conflict(
            "The key of {person} would have expired already.",
            person=signer.person,
            code="signer_expired",
            field="expires_at",
            hint=N_("Revoke it, and propose it again."),
        )
    digests = {"fingerprint": signer.fingerprint, "facts": approval.facts_digest}
    with transaction.atomic():
        change_state(signer, SignerState.TRUSTED, actor=actor, reason=f"approval {approval.pk}", digests=digests)
        old = signer.replaces
        if old is not None and old.state == SignerState.TRUSTED:
            reason = f"Replaced by the key {signer.fingerprint[:16]}, approval {approval.pk}."
            digests = {"fingerprint": old.fingerprint}
            change_state(old, SignerState.REVOKED, actor=actor, reason=reason, digests=digests, revoke_reason=reason)
    return signer


def revoke_signer(*, actor: Actor, signer: BundleSigner, reason: str) -> BundleSigner:
    """The key counts no more, at once: bundles that it signed and that are not applied yet are refused. A request to
    trust it ends."""
    policy.require(actor, "bundle_signer.revoke", signer)
    reason = validate_text(reason, "reason", 500)
    if signer.state == SignerState.REVOKED:
        raise Conflict(
            "The key of {person} is revoked already.", person=signer.person, code="signer_revoked", field="state"
        )
    with transaction.atomic():
        digests = {"fingerprint": signer.fingerprint}
        change_state(signer, SignerState.REVOKED, actor=actor, reason=reason, digests=digests, revoke_reason=reason)
        # The plane's own act: a token that may revoke a stolen key is not asked for the scope of approvals besides.
        void_requests(
            actor=build_plane_actor(PlaneRole.DISPATCHER),
            project=signer.project,
            subject_type=SUBJECT,
            subject_id=signer.pk,
            reason=f"The key was revoked by {actor.label}: {reason}"[:2000],
        )
        seal_now()
    return signer

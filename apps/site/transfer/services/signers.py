"""Whose signatures count: a key is proposed by one person and trusted by the approvers of the project."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.accounts.models import Project
from apps.platform.approvals.models import Approval
from apps.platform.approvals.services import request_approval
from apps.platform.approvals.validation import validate_text
from apps.platform.audit.services import change_state, record, seal_now
from apps.site.transfer.faults import BUNDLE_FAULTS, convert_fault
from apps.site.transfer.models import BundleSigner
from apps.site.transfer.states import SignerState
from deepseek.bundles.signatures import compute_fingerprint
from deepseek.bundles.signer_files import parse_signer
from deepseek.bundles.spec import PlaneRef
from deepseek.messages import N_
from deepseek.signing.keys import decode_public_key, encode_public_key

SUBJECT = "bundle_signer"


def propose_signer(
    *, actor: Actor, project: Project, source: PlaneRef, document: str, comment: str = ""
) -> tuple[BundleSigner, Approval]:
    """Ask the approvers to trust a key for bundles of `source`. `document`: the .pub.json of the person.

    Raises Invalid `signer_malformed`, Conflict `signer_exists`, and what asking for an approval raises.
    """
    policy.require(actor, "bundle_signer.propose", project)
    try:
        signer = parse_signer(document)
    except BUNDLE_FAULTS as error:
        raise convert_fault(error) from None
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


def build_signer_facts(row: BundleSigner) -> dict[str, Any]:
    """What approvers decide about: whose key, of which plane, with which fingerprint."""
    key = decode_public_key(row.public_key)
    return {
        "person": row.person,
        "fingerprint": compute_fingerprint(key),  # of the key itself, whatever the row says of it
        "source": {"id": row.source_id, "name": row.source_name},
        "state": row.state,
    }


def trust_signer(*, actor: Actor, signer: BundleSigner, approval: Approval) -> BundleSigner:
    """What an approval carries out: the key counts from now on."""
    digests = {"fingerprint": signer.fingerprint, "facts": approval.facts_digest}
    return change_state(signer, SignerState.TRUSTED, actor=actor, reason=f"approval {approval.pk}", digests=digests)


def revoke_signer(*, actor: Actor, signer: BundleSigner, reason: str) -> BundleSigner:
    """The key counts no more, at once: bundles that it signed and that are not applied yet are refused."""
    policy.require(actor, "bundle_signer.revoke", signer)
    reason = validate_text(reason, "reason", 500)
    if signer.state == SignerState.REVOKED:
        raise Conflict(
            "The key of {person} is revoked already.", person=signer.person, code="signer_revoked", field="state"
        )
    with transaction.atomic():
        digests = {"fingerprint": signer.fingerprint}
        change_state(signer, SignerState.REVOKED, actor=actor, reason=reason, digests=digests, revoke_reason=reason)
        seal_now()
    return signer

"""What approvers decide about in transfer: applying a bundle, and whose signature counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.approvals.models import Approval
from apps.platform.approvals.subjects import end_sentence
from apps.site.transfer.facts import compute_current_facts
from apps.site.transfer.models import BundleSigner, IncomingBundle
from apps.site.transfer.presenters import list_preview_rows
from apps.site.transfer.services.incoming import approve_bundle
from apps.site.transfer.services.signers import build_signer_facts, trust_signer


class BundleSubject:
    """A bundle may be applied to its project; `subject_id` is its key."""

    label = gettext_lazy("Bundle")
    acts_at_once = False  # a worker loads it

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        return compute_current_facts(get_approval_bundle(approval), deep=deep)

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        approve_bundle(actor=actor, bundle=get_approval_bundle(approval), approval=approval)

    def address(self, approval: Approval) -> str:
        return reverse("transfer:incoming", args=[approval.project.slug, approval.subject_id])

    def summary(self, approval: Approval) -> str:
        facts = json.loads(approval.facts)
        values = {
            "sequence": facts["bundle"]["sequence"],
            "source": facts["source"]["name"],
            "new": facts["preview"]["new"],
            "people": ", ".join(signer["person"] for signer in facts["signers"]),
        }
        return _("Bundle %(sequence)s of %(source)s: %(new)s new, signed by %(people)s") % values

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        bundle = get_approval_bundle(approval)
        context = {
            "bundle": bundle,
            "bundle_facts": json.loads(approval.facts),
            "preview_rows": list_preview_rows(bundle),
            "answer": end_sentence(self.summary(approval)),
            "approve_label": _("Approve, apply the bundle"),
        }
        return "transfer/approval.html", context


class SignerSubject:
    """A person's key may count for the bundles of a source; `subject_id` is the signer's key."""

    label = gettext_lazy("Signer of bundles")
    acts_at_once = True

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        return build_signer_facts(get_approval_signer(approval))

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        trust_signer(actor=actor, signer=get_approval_signer(approval), approval=approval)

    def address(self, approval: Approval) -> str:
        return reverse("transfer:overview", args=[approval.project.slug])

    def summary(self, approval: Approval) -> str:
        facts = json.loads(approval.facts)
        values = {
            "person": facts["person"],
            "source": facts["source"]["name"],
            "fingerprint": facts["fingerprint"][:16],
        }
        return _("Key of %(person)s for bundles of %(source)s, fingerprint %(fingerprint)s…") % values

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        context = {"signer_facts": json.loads(approval.facts), "approve_label": _("Approve, trust the key")}
        return "transfer/signer_approval.html", {**context, "answer": end_sentence(self.summary(approval))}


def get_approval_bundle(approval: Approval) -> IncomingBundle:
    rows = IncomingBundle.objects.select_related("project")
    bundle = rows.filter(pk=int(approval.subject_id), project=approval.project_id).first()
    if bundle is None:
        raise NotFound("The bundle that was to be approved is gone.", field="subject")
    return bundle


def get_approval_signer(approval: Approval) -> BundleSigner:
    signer = BundleSigner.objects.filter(pk=int(approval.subject_id), project=approval.project_id).first()
    if signer is None:
        raise NotFound("The signer that was to be approved is gone.", field="subject")
    return signer


BUNDLE, SIGNER = BundleSubject(), SignerSubject()

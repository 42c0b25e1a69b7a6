"""The participation of a site as something to be approved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.ml.federation import services
from apps.ml.federation.facts import build_participation_facts
from apps.ml.federation.models import SiteStudy
from apps.ml.federation.presenters import build_approval_context
from apps.platform.approvals.models import Approval
from apps.platform.approvals.subjects import end_sentence


class Participation:
    """This site is to take part in a study; `subject_id` is the key of the site's study."""

    label = pgettext_lazy("approval", "Federated study")
    acts_at_once = False  # the site trains in the rounds that follow

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        return build_participation_facts(get_approval_study(approval))

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        services.accept_approval(actor=actor, site_study=get_approval_study(approval), approval=approval)

    def address(self, approval: Approval) -> str:
        return reverse("federation:site_study", args=[approval.project.slug, int(approval.subject_id)])

    def summary(self, approval: Approval) -> str:
        facts = json.loads(approval.facts)
        values = {
            "study": facts["study"]["name"],
            "rounds": facts["training"]["rounds"],
            "data": f"{facts['data']['dataset']} v{facts['data']['version']}",
            "size": facts["model"]["update_bytes"],
        }
        if facts["privacy"] is None:
            return _("%(study)s: %(rounds)s rounds on %(data)s, up to %(size)s bytes leave each, not private") % values
        values["epsilon"] = facts["privacy"]["epsilon"]
        return (
            _("%(study)s: %(rounds)s rounds on %(data)s, up to %(size)s bytes leave each, epsilon %(epsilon)s") % values
        )

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        labels = {"approve_label": _("Approve, let this site join"), "reject_label": _("Reject, nothing leaves")}
        context = build_approval_context(json.loads(approval.facts))
        return "federation/approval.html", {**context, **labels, "answer": end_sentence(self.summary(approval))}


def get_approval_study(approval: Approval) -> SiteStudy:
    """The study that an approval is about; NotFound if there is none in its project."""
    rows = SiteStudy.objects.select_related("project", "data__dataset")
    row = rows.filter(pk=int(approval.subject_id), project=approval.project_id).first()
    if row is None:
        raise NotFound("The study that was to be joined is gone.", field="subject")
    return row


PARTICIPATION = Participation()

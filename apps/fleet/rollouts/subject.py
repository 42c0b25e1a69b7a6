"""A rollout as something to be approved: before its first wave, and after a wave with the evidence of its gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.fleet.rollouts import services
from apps.fleet.rollouts.addresses import build_rollout_path
from apps.fleet.rollouts.approval_page import build_approval_context
from apps.fleet.rollouts.facts import START, build_start_facts, build_wave_facts
from apps.fleet.rollouts.models import Look, Rollout
from apps.platform.approvals.models import Approval
from apps.platform.approvals.subjects import end_sentence


class RolloutSubject:
    """A rollout may start, or go on to its next wave; `subject_id` is the rollout's key."""

    label = gettext_lazy("Rollout")
    acts_at_once = False  # it goes out in waves

    def current_facts(self, approval: Approval, *, deep: bool) -> Mapping[str, Any]:
        rollout, facts = get_approval_rollout(approval), json.loads(approval.facts)
        if facts["stage"] == START:
            return build_start_facts(rollout, deep=deep)
        look = Look.objects.select_related("wave").filter(
            wave__rollout=rollout, wave__position=facts["wave"]["position"], number=facts["evidence"]["look"]
        )
        evidence = look.first()
        if evidence is None:
            raise NotFound("The evidence of the wave is gone.", field="evidence")
        return build_wave_facts(rollout, evidence.wave, evidence, deep=deep)

    def carry_out(self, actor: Actor, approval: Approval) -> None:
        services.accept_approval(actor=actor, rollout=get_approval_rollout(approval), approval=approval)

    def address(self, approval: Approval) -> str:
        return build_rollout_path(get_approval_rollout(approval))

    def summary(self, approval: Approval) -> str:
        facts = json.loads(approval.facts)
        values = {
            "model": facts["model"],
            "version": facts["candidate"]["version"],
            "devices": facts["blast_radius"]["devices"],
        }
        if facts["stage"] == START:
            return _("%(model)s v%(version)s for %(devices)s devices, in waves") % values
        values |= {"wave": facts["wave"]["position"] + 1, "verdict": facts["evidence"]["verdict"]}
        return _("%(model)s v%(version)s after wave %(wave)s: %(verdict)s") % values

    def page(self, actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
        answer = end_sentence(self.summary(approval))
        return "rollouts/approval.html", {**build_approval_context(approval), "answer": answer}


def get_approval_rollout(approval: Approval) -> Rollout:
    """The rollout that an approval is about; NotFound if there is none in its project."""
    rows = Rollout.objects.select_related("project", "version__model__project", "version__run")
    rollout = rows.filter(pk=int(approval.subject_id), project=approval.project_id).first()
    if rollout is None:
        raise NotFound("The rollout that was to be approved is gone.", field="subject")
    return rollout


ROLLOUT = RolloutSubject()

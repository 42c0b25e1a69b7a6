"""A subject as an app above approvals would supply it: facts in a dictionary, an act that leaves a record."""

from __future__ import annotations

from copy import deepcopy

from apps.core.errors import NotFound
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import record

FACTS = {"version": 3, "digest": "a" * 64, "figures": {"mae": 1.25}, "files": ["model", "manifest"]}


class StandIn:
    label = "Thing"
    acts_at_once = True

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.facts = deepcopy(FACTS)
        self.bytes_are = None  # what a deep look finds instead of the digest
        self.gone = False
        self.fails = None  # an exception that the act raises
        self.looks = []  # deep or not, in order
        self.meanwhile = lambda: None  # happens right after a deep look, as if by somebody else

    def current_facts(self, approval, *, deep):
        self.looks.append(deep)
        if self.gone:
            raise NotFound("There is no such thing any more.")
        found = deepcopy(self.facts)
        if deep and self.bytes_are:
            found["digest"] = self.bytes_are
        if deep:
            self.meanwhile()
        return found

    def carry_out(self, actor, approval):
        record(actor=actor, action="thing.carry_out", object_type="thing", object_id=approval.subject_id)
        if self.fails:
            raise self.fails

    def address(self, approval):
        return f"/things/{approval.subject_id}"

    def summary(self, approval):
        return f"The lamp {approval.subject_id}."

    def page(self, actor, approval):
        told = {"answer": "It moves from 2 to 3.", "approve_label": "Approve, move to 3"}
        return "approvals/facts_card.html", {**told, "rows": [("/figures/mae", "1.25")], "limit": 9}


SUBJECT = StandIn()


def carried_out() -> int:
    return AuditRecord.objects.filter(action="thing.carry_out").count()

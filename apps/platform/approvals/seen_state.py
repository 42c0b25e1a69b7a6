"""What a person was shown of an approval, in a form that can be compared with what they are shown next. Pure.

The facts of a request never change, but what stands beside them does: votes come in, facts stop being true, questions
are asked and answered. And a request that was void or withdrawn is asked anew, on other facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.platform.approvals.differences import Change
from apps.platform.approvals.models import Approval, Remark, Vote
from apps.platform.approvals.states import ApprovalState, Decision

SeenState = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class News:
    """One change since the reader last opened the page."""

    state: str  # whose colour and icon it wears
    text: str


def build_seen_state(
    approval: Approval, votes: Iterable[Vote], remarks: Iterable[Remark], changes: Iterable[Change]
) -> dict[str, Any]:
    """Build the JSON state that a reader sees: request, facts, state, votes, remarks and changed facts."""
    return {
        "approval": approval.pk,
        "facts": approval.facts_digest,
        "state": approval.state,
        "votes": [[vote.pk, vote.label, vote.decision, bool(vote.counts)] for vote in votes],  # type: ignore[attr-defined]
        "remarks": [[remark.pk, remark.label, remark.asks] for remark in remarks],
        "changes": [change["path"] for change in changes],
    }


@dataclass(frozen=True, slots=True)
class OwnActs:
    """What the reader did to a request: no news to them."""

    vote: int | None = None
    remarks: frozenset[int] = frozenset()
    ended: bool = False  # by their vote, or by withdrawing it


def list_news(before: SeenState, now: SeenState, facts: Sequence[Change], own: OwnActs) -> list[News]:
    """What to tell somebody who saw `before`. `facts`: what differs between the two requests, where they are two."""
    if before["approval"] != now["approval"]:
        return list(iter_request_news(before, now, facts))
    ended = [] if own.ended else iter_state_news(before, now)
    return [
        *iter_vote_news(before, now, own),
        *iter_remark_news(before, now, own),
        *iter_fact_news(before, now),
        *ended,
    ]


def iter_request_news(before: SeenState, now: SeenState, facts: Sequence[Change]) -> Iterator[News]:
    previous = {"number": before["approval"]}
    if before["facts"] == now["facts"]:
        yield News("note", _("It was asked for anew; the facts are those of request #%(number)s.") % previous)
        return
    count = ngettext("%(n)d fact is", "%(n)d facts are", len(facts)) % {"n": len(facts)}
    params = {**previous, "facts": count}
    yield News("held", _("It was asked for anew: %(facts)s not as in request #%(number)s.") % params)


def iter_vote_news(before: SeenState, now: SeenState, own: OwnActs) -> Iterator[News]:
    counted_before = {pk: counts for pk, _who, _decision, counts in before["votes"]}
    for pk, who, decision, counts in now["votes"]:
        if pk not in counted_before and pk == own.vote:
            continue
        if pk not in counted_before:
            approves = decision == Decision.APPROVE
            words = _("%(who)s has approved.") if approves else _("%(who)s has rejected it.")
            yield News("approved" if approves else "rejected", words % {"who": who})
        elif counted_before[pk] != counts:
            words = _("The vote of %(who)s counts again.") if counts else _("The vote of %(who)s counts no more.")
            yield News("held", words % {"who": who})


def iter_remark_news(before: SeenState, now: SeenState, own: OwnActs) -> Iterator[News]:
    earlier_ids = {pk for pk, _who, _asks in before["remarks"]}
    for pk, who, asks in now["remarks"]:
        if pk not in earlier_ids and pk not in own.remarks:
            words = _("%(who)s asks for more.") if asks else _("%(who)s has answered.")
            yield News("held" if asks else "note", words % {"who": who})


def iter_fact_news(before: SeenState, now: SeenState) -> Iterator[News]:
    fresh = [path for path in now["changes"] if path not in before["changes"]]
    again = [path for path in before["changes"] if path not in now["changes"]]
    if fresh:
        words = ngettext("A fact no longer holds: %(paths)s.", "Facts no longer hold: %(paths)s.", len(fresh))
        yield News("held", words % {"paths": ", ".join(map(format_pointer, fresh))})
    if again and now["state"] == ApprovalState.PENDING:
        words = ngettext("A fact holds again: %(paths)s.", "Facts hold again: %(paths)s.", len(again))
        yield News("note", words % {"paths": ", ".join(map(format_pointer, again))})


def iter_state_news(before: SeenState, now: SeenState) -> Iterator[News]:
    if before["state"] != now["state"]:
        yield News(now["state"], _("It is now: %(state)s.") % {"state": ApprovalState(now["state"]).label})


def format_pointer(path: str) -> str:
    """A JSON pointer as people read it: /candidate/variants/int8/size -> candidate › variants › int8 › size."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    return " › ".join(steps) or _("the whole")

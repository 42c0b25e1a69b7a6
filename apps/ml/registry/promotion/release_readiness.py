"""May a version go out: what speaks for it, what to weigh, what stands in the way. Pure, from what the page knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.ml.registry.evaluations.comparison import Compared, Verdict
from apps.ml.registry.gates.verdicts import Judged
from apps.ml.registry.states import GateState
from apps.platform.approvals.terms import Terms

NAMED = 5  # files that a sentence names
FOR, WEIGH, AGAINST = "pass", "held", "failed"  # the states that pages colour


@dataclass(frozen=True, slots=True)
class Check:
    """One point: what it is about, which way it speaks, and why."""

    state: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Outlook:
    checks: list[Check]

    @property
    def state(self) -> str:
        found = {check.state for check in self.checks}
        return AGAINST if AGAINST in found else WEIGH if WEIGH in found else FOR

    @property
    def word(self) -> str:
        words = {FOR: _("May go out"), WEIGH: _("To be weighed"), AGAINST: _("May not go out")}
        return words[self.state]

    @property
    def sentence(self) -> str:
        """What the answer under the title says of it."""
        if self.state == AGAINST:
            return _("May not go out: %(why)s") % {"why": next(c.text for c in self.checks if c.state == AGAINST)}
        open_ = sum(check.state == WEIGH for check in self.checks)
        if not open_:
            return _("Nothing stands against asking for its promotion.")
        words = ngettext("%(n)d point is to be weighed first.", "%(n)d points are to be weighed first.", open_)
        return words % {"n": open_}


def outlook_of(
    rows: Sequence[Mapping[str, Any]],
    *,
    first: Compared | None,
    baseline: Compared | None,
    production: Mapping[str, Any] | None,
    signature: Mapping[str, Any],
    data: Sequence[Any],
    terms: Terms,
    eligible: int,
    files: Mapping[str, Any] | None = None,
    gates: Sequence[Judged] = (),
    predicted: str = "",
) -> Outlook:
    """`first`, `baseline`: the headline figure beside each of the two; `production`: the side that stands there;
    `files`: {count, spoilt} of a version that a client made, which has no variants; `gates`: what each says of it;
    `predicted`: whose predictions were measured, where the plane could run nothing.
    """
    checks = [of_bytes(rows, files), of_figures(rows, predicted)]
    checks += [of_comparison(_("Against production"), first)] if production else []
    checks += [of_comparison(_("Against the baseline"), baseline)] if baseline else []
    checks += [of_gate(one) for one in gates]
    checks += [of_signature(signature, production)] if production else []
    return Outlook([*checks, of_data(data), of_approvers(terms, eligible)])


def of_bytes(rows: Sequence[Mapping[str, Any]], files: Mapping[str, Any] | None) -> Check:
    if not rows and not (files and files["count"]):
        return Check(AGAINST, _("Bytes"), _("It has no files here: there is nothing to approve."))
    spoilt = [row["name"] for row in rows if not row["intact"]]
    spoilt += files["spoilt"][:NAMED] if files else []
    if spoilt:
        words = _("The bytes of %(names)s are damaged: restore or upload them.")
        return Check(AGAINST, _("Bytes"), words % {"names": ", ".join(spoilt)})
    return Check(FOR, _("Bytes"), _("Whole, as last read; they are read again before anything moves."))


def of_figures(rows: Sequence[Mapping[str, Any]], predicted: str = "") -> Check:
    bare = [row["name"] for row in rows if not row["metrics"]]
    brought = [row["name"] for row in rows if row["metrics"] and not row["job"]]
    if not rows and predicted:
        return Check(WEIGH, _("Figures"), predicted)
    if not rows:
        return Check(WEIGH, _("Figures"), _("No figure was measured here: a client brought the files."))
    if bare:
        return Check(WEIGH, _("Figures"), _("Not measured: %(names)s.") % {"names": ", ".join(bare)})
    if brought:
        words = _("Came with the files, no job here measured them: %(names)s.")
        return Check(WEIGH, _("Figures"), words % {"names": ", ".join(brought)})
    return Check(FOR, _("Figures"), _("Every variant was measured here on held-out rows."))


def of_comparison(label: str, compared: Compared | None) -> Check:
    if compared is None:
        return Check(WEIGH, label, _("They have no figure in common."))
    state = {Verdict.BETTER: FOR, Verdict.WORSE: WEIGH}.get(Verdict(compared.verdict), WEIGH)
    return Check(state, label, f"{compared.name}: {compared.statement}")


def of_gate(one: Judged) -> Check:
    colours = {GateState.PASS: FOR, GateState.NOT_SIGNIFICANT: WEIGH, GateState.NO_BASELINE: FOR}
    return Check(colours.get(one.state, AGAINST), _("Gate"), f"{one.gate}: {one.word}")


def of_signature(mine: Mapping[str, Any], production: Mapping[str, Any] | None) -> Check:
    if production is not None and production["signature"] != mine:
        return Check(WEIGH, _("Inputs and outputs"), _("Other than in production: what asks it must change too."))
    return Check(FOR, _("Inputs and outputs"), _("The same as in production: what asks it need not change."))


def of_data(data: Sequence[Any]) -> Check:
    if not data:
        return Check(WEIGH, _("Data"), _("Not known: no dataset version went into its training."))
    return Check(FOR, _("Data"), _("Known: %(names)s.") % {"names": ", ".join(map(str, data))})


def of_approvers(terms: Terms, eligible: int) -> Check:
    """Who must approve: the policy of the project, and whether enough people could."""
    need = ngettext("%(n)d approval within %(hours)d h", "%(n)d approvals within %(hours)d h", terms.needed)
    told = {"need": need % {"n": terms.needed, "hours": terms.deadline_hours}, "people": eligible}
    if eligible < terms.needed:
        words = _("It takes %(need)s, and only %(people)d could give one: the security administrator names approvers.")
        return Check(AGAINST, _("Approvers"), words % told)
    words = _("It takes %(need)s; %(people)d could give one, never who asks.")
    return Check(FOR, _("Approvers"), words % told)

"""May a version go out: what speaks for it, what to weigh, what stands in the way. Pure, from what the page knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.messages import translate_message
from apps.ml.registry.evaluations.comparison import MetricComparison, Verdict
from apps.ml.registry.gates.verdicts import GateResult
from apps.ml.registry.promotion.allowance import list_exceeded_losses
from apps.ml.registry.states import GateState
from apps.platform.approvals.terms import Terms

MAX_NAMED_FILES = 5  # files that a sentence names
FOR, WEIGH, AGAINST = "pass", "held", "failed"  # the states that pages colour


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One point: what it is about, which way it speaks, and why."""

    state: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class ReleaseReadiness:
    checks: list[ReadinessCheck]

    @property
    def state(self) -> str:
        states = {check.state for check in self.checks}
        return AGAINST if AGAINST in states else WEIGH if WEIGH in states else FOR

    @property
    def word(self) -> str:
        words = {FOR: _("Ready"), WEIGH: _("To be weighed"), AGAINST: _("Not ready")}
        return words[self.state]

    @property
    def sentence(self) -> str:
        """What the answer under the title says of it."""
        if self.state == AGAINST:
            return _("Not ready: %(why)s") % {"why": next(c.text for c in self.checks if c.state == AGAINST)}
        open_ = sum(check.state == WEIGH for check in self.checks)
        if not open_:
            return _("Ready to request promotion.")
        words = ngettext("%(n)d point is to be weighed first.", "%(n)d points are to be weighed first.", open_)
        return words % {"n": open_}


def evaluate_readiness(
    rows: Sequence[Mapping[str, Any]],
    *,
    first: MetricComparison | None,
    baseline: MetricComparison | None,
    production: Mapping[str, Any] | None,
    signature: Mapping[str, Any],
    data: Sequence[Any],
    terms: Terms,
    eligible: int,
    files: Mapping[str, Any] | None = None,
    gates: Sequence[GateResult] = (),
    predicted: str = "",
) -> ReleaseReadiness:
    """`first`, `baseline`: the headline figure beside each of the two; `production`: the side that stands there;
    `files`: {count, spoilt} of a version that a client made, which has no variants; `gates`: what each says of it;
    `predicted`: whose predictions were measured, where the plane could run nothing.
    """
    checks = [check_bytes(rows, files), check_figures(rows, predicted), *check_losses(rows)]
    checks += [check_comparison(_("Against production"), first)] if production else []
    checks += [check_comparison(_("Against the baseline"), baseline)] if baseline else []
    checks += [check_gate(result) for result in gates]
    checks += [check_signature(signature, production)] if production else []
    return ReleaseReadiness([*checks, check_data(data), check_approvers(terms, eligible)])


def check_bytes(rows: Sequence[Mapping[str, Any]], files: Mapping[str, Any] | None) -> ReadinessCheck:
    if not rows and not (files and files["count"]):
        return ReadinessCheck(AGAINST, _("Files"), _("It has no files here: there is nothing to approve."))
    spoilt = [row["name"] for row in rows if not row["intact"]]
    spoilt += files["spoilt"][:MAX_NAMED_FILES] if files else []
    if spoilt:
        words = _("Files of %(names)s are damaged: restore or upload them.")
        return ReadinessCheck(AGAINST, _("Files"), words % {"names": ", ".join(spoilt)})
    return ReadinessCheck(FOR, _("Files"), _("Verified; they are verified again before production changes."))


def check_figures(rows: Sequence[Mapping[str, Any]], predicted: str = "") -> ReadinessCheck:
    bare = [row["name"] for row in rows if not row["metrics"]]
    brought = [row["name"] for row in rows if row["metrics"] and not row["job"]]
    if not rows and predicted:
        return ReadinessCheck(WEIGH, _("Metrics"), predicted)
    if not rows:
        return ReadinessCheck(WEIGH, _("Metrics"), _("No metric was measured here: a client uploaded the files."))
    if bare:
        return ReadinessCheck(WEIGH, _("Metrics"), _("Not measured: %(names)s.") % {"names": ", ".join(bare)})
    if brought:
        words = _("Came with the files, no job here measured them: %(names)s.")
        return ReadinessCheck(WEIGH, _("Metrics"), words % {"names": ", ".join(brought)})
    return ReadinessCheck(FOR, _("Metrics"), _("Every variant was measured on held-out rows."))


def check_losses(rows: Sequence[Mapping[str, Any]]) -> list[ReadinessCheck]:
    """What quantized forms lost, where there are such."""
    if not any(row.get("allowance") for row in rows):
        return []
    exceeded = list_exceeded_losses((row["name"], row) for row in rows)
    if exceeded:
        texts = [translate_message(loss.describe()) for loss in exceeded]
        return [ReadinessCheck(AGAINST, _("Quantization loss"), f"{'; '.join(texts)}.")]
    words = _("Every quantized variant is within its limit.")
    return [ReadinessCheck(FOR, _("Quantization loss"), words)]


def check_comparison(label: str, compared: MetricComparison | None) -> ReadinessCheck:
    if compared is None:
        return ReadinessCheck(WEIGH, label, _("They have no metric in common."))
    state = {Verdict.BETTER: FOR, Verdict.WORSE: WEIGH}.get(Verdict(compared.verdict), WEIGH)
    return ReadinessCheck(state, label, f"{compared.name}: {compared.statement}")


def check_gate(result: GateResult) -> ReadinessCheck:
    colours = {GateState.PASS: FOR, GateState.NOT_SIGNIFICANT: WEIGH, GateState.NO_BASELINE: FOR}
    return ReadinessCheck(colours.get(result.state, AGAINST), _("Gate"), f"{result.gate}: {result.word}")


def check_signature(mine: Mapping[str, Any], production: Mapping[str, Any] | None) -> ReadinessCheck:
    if production is not None and production["signature"] != mine:
        return ReadinessCheck(WEIGH, _("Inputs and outputs"), _("Different from production: clients must change too."))
    return ReadinessCheck(FOR, _("Inputs and outputs"), _("Same as in production: clients need not change."))


def check_data(data: Sequence[Any]) -> ReadinessCheck:
    if not data:
        return ReadinessCheck(WEIGH, _("Data"), _("Unknown: it was not trained on a dataset version."))
    return ReadinessCheck(FOR, _("Data"), _("Trained on %(names)s.") % {"names": ", ".join(map(str, data))})


def check_approvers(terms: Terms, eligible: int) -> ReadinessCheck:
    """Who must approve: the policy of the project, and whether enough people could."""
    need = ngettext("%(n)d approval within %(hours)d h", "%(n)d approvals within %(hours)d h", terms.needed)
    values = {"need": need % {"n": terms.needed, "hours": terms.deadline_hours}, "people": eligible}
    if eligible < terms.needed:
        words = _("Needs %(need)s, and only %(people)d could approve: the security administrator appoints approvers.")
        return ReadinessCheck(AGAINST, _("Approvers"), words % values)
    words = _("Needs %(need)s; %(people)d could approve; the requester cannot.")
    return ReadinessCheck(FOR, _("Approvers"), words % values)

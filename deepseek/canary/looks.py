"""The tests of the gates at a look: statistics, what the looks before say of them, and which hypotheses fall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from deepseek.canary import boundaries, comparisons, e_processes
from deepseek.canary.comparisons import Difference, compare_means
from deepseek.canary.evidence_spec import MAX_LOOKS, Evidence, History, Look
from deepseek.canary.sample import Fleet, Sample
from deepseek.canary.spec import CanaryPlan, Gate, TestKind
from deepseek.job import EngineError
from deepseek.messages import N_

FAMILIES: dict[TestKind, boundaries.Family] = {"harm": "pocock", "non_inferiority": "obrien_fleming"}
SMALLEST_STEP = 0.01
"""By so much of the planned information a look differs from the last one, or it is none: it could tell nothing new."""


@dataclass
class SequentialTest:
    """One test of one gate, with its looks. `z` is NaN where the sample gives no statistic."""

    plan: CanaryPlan
    gate: Gate
    kind: TestKind
    sample: Sample
    looks: list[Look] = field(default_factory=list)
    z: float = math.nan
    difference: Difference | None = None
    alpha: float = 0.0
    is_shown: bool = False

    @property
    def threshold(self) -> float:
        """Worse than this is harm; worse by less is non-inferior. Of a share against a limit: the limit."""
        if self.gate.limit is not None:
            return self.gate.limit
        return self.gate.tolerance if self.kind == "harm" else (self.gate.margin or 0.0)

    @property
    def is_complete(self) -> bool:
        """Whether the whole error is spent: nothing that comes later counts for this test."""
        return self.plan.maximum is not None and bool(self.looks) and self.looks[-1].spending >= 1

    @property
    def is_exact(self) -> bool:
        """Whether it holds for any number of devices: failures counted against those of control devices or a limit."""
        return self.gate.scale == "binary" and self.kind == "harm" and not self.gate.tolerance

    def has_minimum(self) -> bool:
        control = self.sample.control if self.gate.reference == "control" else self.plan.min_control
        return self.sample.canary >= self.plan.min_canary and control >= self.plan.min_control

    def compute_statistic(self) -> None:
        """Set `z`, and `difference` for a continuous figure."""
        arms, sample = self.sample.arms, self.sample
        if self.gate.reference == "limit":
            if sample.canary:
                self.z = float(
                    comparisons.compute_limit_z(
                        sample.canary_events, sample.canary, self.threshold, above=self.kind == "harm"
                    )
                )
            return
        if not arms.weights.any():
            return
        if self.gate.scale == "continuous":
            self.difference = compare_means(arms)
            if self.kind == "harm":
                self.z = float(comparisons.compute_permutation_z(arms, self.threshold))
            else:
                self.z = float(comparisons.compute_margin_z(arms, self.threshold, has_one_sign=sample.has_one_sign))
        elif self.is_exact:
            self.z = float(comparisons.compute_exact_z(arms))
        else:
            self.z = float(comparisons.compute_score_z(arms, self.threshold))
            if self.kind == "harm":  # the score test is too sure of few failures
                self.z = min(self.z, float(comparisons.compute_exact_z(arms)))
            else:
                self.z = -self.z

    def take_look(self, evidence: Evidence) -> None:
        """Add a look for the evidence, or none where it is too little, nothing new, or comes after the last one."""
        if self.looks and self.looks[-1].at == evidence.at:
            self.looks.pop()  # the same look once more, by whoever was killed before it was kept
        if self.looks and self.looks[-1].at > evidence.at:
            raise _build_order_error(evidence, self.looks[-1])
        if self.is_complete or math.isnan(self.z) or not (self.is_exact or self.has_minimum()):
            return
        if self.plan.maximum is None:
            look = self._build_e_look(evidence)
            remaining = self.looks[1 - MAX_LOOKS :]
            self.looks = [*(_strip(each) for each in remaining[:-1]), *remaining[-1:], look]
            return
        fraction = self.sample.compute_fraction(self.gate, self.plan.maximum)
        before = self.looks[-1].fraction if self.looks else 0.0
        is_last = evidence.final or fraction >= 1 - 1e-9
        if fraction - before < (1e-9 if is_last else SMALLEST_STEP):
            if evidence.final and self.looks:  # nothing new, but what is left may be spent
                self.looks[-1] = self.looks[-1].model_copy(update={"spending": 1.0})
            return
        spending = 1.0 if is_last else fraction
        self.looks.append(self._build_look(evidence, fraction, spending))

    def _build_look(self, evidence: Evidence, fraction: float, spending: float) -> Look:
        return Look(gate=self.gate.name, test=self.kind, at=evidence.at, fraction=fraction, spending=spending, z=self.z)

    def _build_e_look(self, evidence: Evidence) -> Look:
        before = self.looks[-1] if self.looks else None
        look = self._build_look(evidence, 1.0, 1.0)
        state: dict[str, object] = {}
        if self.gate.reference == "limit":
            log_e = e_processes.compute_log_limit_mixture(
                self.sample.canary_events, self.sample.canary, self.threshold, above=self.kind == "harm"
            )
        elif self.is_exact:
            ratios, totals = e_processes.add_counts(
                before.log_likelihoods if before else None,
                self.sample.build_cells(),
                (before.totals or {}) if before else {},
            )
            log_e = e_processes.mix_counts(ratios)
            state = {"log_likelihoods": ratios.tolist(), "totals": totals}
        else:
            scale = self.compute_mixing_scale()
            log_e = float(e_processes.compute_log_normal_mixture(self.z, scale))
            state = {"scale": scale}
        greatest = max([log_e] + [each.log_e for each in self.looks if each.log_e is not None])
        return look.model_copy(update={"log_e": greatest, **state})

    def compute_mixing_scale(self) -> float:
        """Of the mixture over differences as wide as the margin: its squared width by the variance of the estimate."""
        if self.difference is not None and float(self.difference.error) > 0:
            variance = float(self.difference.error) ** 2
        elif self.gate.scale == "binary":
            variance = float(comparisons.compute_score_variance(self.sample.arms, self.threshold))
        else:
            variance = 0.0  # equal values: the statistic is that of the permutations
        return (self.gate.margin or 1.0) ** 2 / variance if variance > 0 else 1.0

    def compute_boundaries(self, alpha: float) -> list[float]:
        """The statistic at which each look shows what the test asks, at the error `alpha`."""
        if self.plan.maximum is None:
            return [
                e_processes.find_critical_z(look.scale, alpha) if look.scale is not None else math.nan
                for look in self.looks
            ]
        if not self.looks:
            return []
        fractions = tuple(look.fraction for look in self.looks)
        spending = tuple(look.spending for look in self.looks)
        return list(boundaries.compute_boundaries(fractions, alpha, FAMILIES[self.kind], spending))

    def find_crossing(self, alpha: float) -> int | None:
        """The first look that shows it at the error `alpha`."""
        if self.plan.maximum is None:
            crossed = [look.log_e is not None and look.log_e >= -math.log(alpha) for look in self.looks]
        else:
            limits = self.compute_boundaries(alpha)
            crossed = [look.z >= limit for look, limit in zip(self.looks, limits, strict=True)]
        return crossed.index(True) if any(crossed) else None

    def find_critical(self) -> float:
        """The critical value for an interval now: that of the last look, and infinite before the first."""
        if self.plan.maximum is None:
            return e_processes.find_critical_z(self.compute_mixing_scale(), self.alpha)
        return self.compute_boundaries(self.alpha)[-1] if self.looks else math.inf

    def find_last_boundary(self) -> float:
        """What a look at the planned maximum would have to reach; of an e-process, a look now."""
        if self.plan.maximum is None or self.is_complete:
            return self.find_critical()
        fractions = (*(look.fraction for look in self.looks), 1.0)
        spending = (*(look.spending for look in self.looks), 1.0)
        return boundaries.compute_boundaries(fractions, self.alpha, FAMILIES[self.kind], spending)[-1]


def build_tests(plan: CanaryPlan, evidence: Evidence, fleet: Fleet) -> list[SequentialTest]:
    """Every test of every gate, this look taken. Raises EngineError ``plan_changed``, ``look_out_of_order``."""
    history = check_history(plan, evidence.history)
    tests = []
    for gate in plan.gates:
        for kind in gate.tests:
            test = SequentialTest(plan, gate, kind, fleet.build_sample(gate, kind))
            test.looks = [look for look in history if look.gate == gate.name and look.test == kind]
            test.compute_statistic()
            test.take_look(evidence)
            tests.append(test)
    decide_tests(plan, tests)
    return tests


def check_history(plan: CanaryPlan, history: History | None) -> Sequence[Look]:
    if history is None:
        return ()
    if history.plan_digest != plan.compute_digest():
        raise EngineError(
            "plan_changed",
            N_("The looks so far were taken under another plan."),
            field="/history/plan_digest",
            value=history.plan_digest,
            limit=plan.compute_digest(),
            hint=N_("Give the plan that they were taken under, or begin again without a history."),
        )
    return history.looks


def decide_tests(plan: CanaryPlan, tests: Sequence[SequentialTest]) -> None:
    """Set `is_shown` and the error that each test had.

    Harm by Holm's procedure: the gates share the error, and what falls leaves its part to the rest (Ye, Li, Liu and Yao
    2013 for group-sequential tests). Of non-inferiority all gates have to fall before the wave goes on, so each has the
    whole error (intersection-union, Berger 1982).
    """
    remaining = [test for test in tests if test.kind == "harm"]
    while remaining:
        alpha = plan.harm_alpha / len(remaining)
        for test in remaining:
            test.alpha = alpha
        fallen = [test for test in remaining if test.find_crossing(alpha) is not None]
        if not fallen:
            break
        for test in fallen:
            test.is_shown = True
        remaining = [test for test in remaining if not test.is_shown]
    for test in tests:
        if test.kind == "non_inferiority":
            test.alpha = plan.non_inferiority_alpha
            test.is_shown = test.find_crossing(test.alpha) is not None


def _strip(look: Look) -> Look:
    """A look that two others follow: the state of its e-process is in them, also when the last one is taken again."""
    return look.model_copy(update={"log_likelihoods": None, "totals": None})


def _build_order_error(evidence: Evidence, last: Look) -> EngineError:
    return EngineError(
        "look_out_of_order",
        N_("The evidence of {at} is older than the last look, at {last}."),
        at=evidence.at.isoformat(),
        last=last.at.isoformat(),
        field="/at",
        value=evidence.at.isoformat(),
        limit=f"after {last.at.isoformat()}",
        hint=N_("Give the newest evidence, with the history of the verdict before."),
    )

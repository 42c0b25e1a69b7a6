"""Drift of features: a current profile against a reference, test by test, corrected for how many tests there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from deepseek.drift import statistics
from deepseek.drift.corrections import Correction, correct_p_values
from deepseek.drift.layout import CategoryLayout, NumberLayout
from deepseek.drift.profile import FeatureProfile, Profile, check_same_layout
from deepseek.job import EngineError
from deepseek.messages import N_, Message, record_messages
from deepseek.quality.drift_spec import CHANGED, LIMITS, MOVED, STABLE, UNKNOWN, VERDICT_ORDER

Verdict = Literal["stable", "moved", "changed", "unknown"]
TestName = Literal["ks", "psi", "wasserstein", "chi_square", "missing", "unseen"]
DEFAULT_LIMITS: dict[str, tuple[float, float]] = {
    "ks": LIMITS["ks"],
    "psi": LIMITS["psi"],
    "wasserstein": (0.2, 0.5),
    "chi_square": (0.1, 0.3),
    "missing": LIMITS["missing_share"],
    "unseen": LIMITS["unseen_share"],
}
"""From where a feature has moved, and from where it has changed: distance of KS, PSI, Wasserstein in standard
deviations of the reference, Cramer's V of chi-square (Cohen 1988: 0.1 small, 0.3 medium), change of the share of cells
that tell nothing, share of values that the reference does not have."""


@dataclass(frozen=True)
class DriftOptions:
    """`alpha`: the probability of calling any undrifted feature drifted, over all (holm), or the share of false ones
    among those called so (benjamini_hochberg). `limits`: how large an effect must be too; with (0, ...) the p-value
    decides alone. `min_rows`: below it, on either side, nothing is decided. `tests`: those whose p-values count;
    the others are computed for the page."""

    alpha: float = 0.01
    correction: Correction = "holm"
    min_rows: int = 100
    tests: tuple[TestName, ...] = ("ks", "chi_square", "missing", "unseen")
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise EngineError(
                "bad_alpha",
                N_("An error probability lies between 0 and 1."),
                field="/alpha",
                value=str(self.alpha),
                limit="between 0 and 1",
                hint=N_("Give 0.01, for example."),
            )

    def get_limits(self, name: str) -> tuple[float, float]:
        return self.limits.get(name, DEFAULT_LIMITS[name])


@dataclass(frozen=True)
class DriftTest:
    """One test of one feature. `value` is an effect in the unit of its limits; `p` is None where there is none."""

    name: TestName
    value: float
    p: float | None = None
    corrected_p: float | None = None
    verdict: Verdict = "stable"

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "value", "p", "corrected_p", "verdict")}


@dataclass(frozen=True)
class FeatureDrift:
    """The verdict on a feature, with the test that decided it; `tests` are all."""

    name: str
    kind: str
    verdict: Verdict
    test: TestName | None
    value: float | None
    p: float | None
    corrected_p: float | None
    message: Message
    tests: tuple[DriftTest, ...] = ()
    rows: int = 0
    reference_rows: int = 0
    unseen: tuple[str, ...] = ()

    @property
    def is_drift(self) -> bool:
        return self.verdict in (MOVED, CHANGED)

    def to_dict(self) -> dict[str, Any]:
        """Strict JSON, with the id and the values of the message."""
        names = ("name", "kind", "verdict", "test", "value", "p", "corrected_p", "message", "rows", "reference_rows")
        record = {name: getattr(self, name) for name in names}
        return record_messages(record | {"tests": [t.to_dict() for t in self.tests], "unseen": list(self.unseen)})


def compare_profiles(reference: Profile, current: Profile, options: DriftOptions | None = None) -> list[FeatureDrift]:
    """The drift of every feature, the most drifted first. Raises EngineError ``other_layout``.

    Nothing in the profiles raises: too few rows, or a column without any value, is the verdict `unknown`.
    """
    check_same_layout(reference.layout, current.layout)
    options = options or DriftOptions()
    results = {
        name: run_tests(feature, current.features[name], options) for name, feature in reference.features.items()
    }
    corrected = _correct(results, options)
    drifts = [
        _describe(reference.features[name], current.features[name], tests, reference.rows, current.rows, options)
        for name, tests in corrected.items()
    ]
    return sorted(drifts, key=_build_sort_key(options))


def run_tests(reference: FeatureProfile, current: FeatureProfile, options: DriftOptions) -> list[DriftTest]:
    """The tests for which there is enough on both sides, not yet corrected."""
    tests = []
    cells = reference.present + reference.invalid, current.present + current.invalid
    if min(cells) >= options.min_rows:
        shares = reference.invalid / cells[0], current.invalid / cells[1]
        p = statistics.compare_shares(reference.invalid, cells[0], current.invalid, cells[1])
        tests.append(DriftTest("missing", abs(shares[1] - shares[0]), p))
    if min(reference.present, current.present) < options.min_rows:
        return tests
    if isinstance(reference.layout, NumberLayout):
        distance, p = statistics.compute_ks(reference.counts, current.counts)
        tests.append(DriftTest("ks", distance, p))
        psi, p, _ = statistics.compute_psi(reference.counts, current.counts)
        tests.append(DriftTest("psi", psi, p))
        return [*tests, *_run_wasserstein(reference.layout.edges, reference, current)]
    tests += _run_unseen(reference, current)
    first, second = _join_unseen(reference), _join_unseen(current)
    statistic, p, freedom = statistics.compute_chi_square(first, second)
    total = int(first.sum() + second.sum())
    tests.append(DriftTest("chi_square", math.sqrt(statistic / total), p if freedom else 1.0))
    psi, p, _ = statistics.compute_psi(first, second)
    return [*tests, DriftTest("psi", psi, p)]


def _join_unseen(profile: FeatureProfile) -> statistics.Counts:
    return np.append(profile.counts, profile.unseen_count)


def _run_wasserstein(edges: statistics.Floats, reference: FeatureProfile, current: FeatureProfile) -> list[DriftTest]:
    """In standard deviations of the reference; of a constant feature it has no unit to be told in."""
    low, high = min(reference.low, current.low), max(reference.high, current.high)
    area = statistics.compute_wasserstein(edges, reference.counts, current.counts, low, high)
    deviation = reference.deviation
    if area is None or not deviation or not math.isfinite(area / deviation):
        return []
    return [DriftTest("wasserstein", area / deviation)]


def _run_unseen(reference: FeatureProfile, current: FeatureProfile) -> list[DriftTest]:
    layout = reference.layout
    if not isinstance(layout, CategoryLayout) or not layout.complete:
        return []  # with more values than are counted by name, another one may be old
    sizes = reference.present, current.present
    p = statistics.compare_shares(reference.unseen_count, sizes[0], current.unseen_count, sizes[1], one_sided=True)
    return [DriftTest("unseen", current.unseen_count / sizes[1], p)]


def _correct(found: Mapping[str, list[DriftTest]], options: DriftOptions) -> dict[str, list[DriftTest]]:
    """With corrected p-values and verdicts. One family: all tests that count, of all features."""
    places = [
        (name, place)
        for name, tests in found.items()
        for place, test in enumerate(tests)
        if test.name in options.tests and test.p is not None and not math.isnan(test.p)
    ]
    p_values = [found[name][place].p or 0.0 for name, place in places]
    corrected = {name: list(tests) for name, tests in found.items()}
    for (name, place), p in zip(places, correct_p_values(p_values, options.correction), strict=True):
        test = corrected[name][place]
        verdict = _classify(test, options) if p <= options.alpha else "stable"
        corrected[name][place] = replace(test, corrected_p=p, verdict=verdict)
    for tests in corrected.values():
        for place, test in enumerate(tests):
            if test.p is None and test.name in options.tests:  # no p-value exists: the effect decides
                tests[place] = replace(test, verdict=_classify(test, options))
    return corrected


def _classify(test: DriftTest, options: DriftOptions) -> Verdict:
    moved, changed = options.get_limits(test.name)
    return "changed" if test.value >= changed else "moved" if test.value >= moved else "stable"


def _describe(
    reference: FeatureProfile,
    current: FeatureProfile,
    tests: list[DriftTest],
    reference_rows: int,
    rows: int,
    options: DriftOptions,
) -> FeatureDrift:
    counted = [test for test in tests if test.name in options.tests]
    has_values = any(test.name != "missing" for test in counted)
    test = max(counted, key=lambda test: _rank(test, options), default=None)
    verdict: Verdict = test.verdict if test else "unknown"
    if verdict == STABLE and not has_values:
        verdict = "unknown"
    message = _build_message(reference, current, test, verdict, options)
    unseen = sorted(current.unseen.items(), key=lambda pair: (-pair[1], pair[0]))
    return FeatureDrift(
        name=reference.name,
        kind=reference.layout.kind,
        verdict=verdict,
        test=test.name if test else None,
        value=test.value if test else None,
        p=test.p if test else None,
        corrected_p=test.corrected_p if test else None,
        message=message,
        tests=tuple(tests),
        rows=rows,
        reference_rows=reference_rows,
        unseen=tuple(value for value, _ in unseen[:20]) if _is_complete(reference) else (),
    )


def _is_complete(profile: FeatureProfile) -> bool:
    return isinstance(profile.layout, CategoryLayout) and profile.layout.complete


def _rank(test: DriftTest, options: DriftOptions) -> tuple[int, float]:
    moved, changed = options.get_limits(test.name)
    return VERDICT_ORDER.index(test.verdict), test.value / (moved or changed or 1.0)


def _build_sort_key(options: DriftOptions) -> Any:
    def key(drift: FeatureDrift) -> tuple[float, ...] | Any:
        decided = [test for test in drift.tests if test.name == drift.test]
        strength = _rank(decided[0], options)[1] if decided else -1.0
        return -VERDICT_ORDER.index(drift.verdict), -strength, drift.name

    return key


MESSAGES: dict[str, str] = {
    "ks": N_("{feature} is distributed differently: the largest distance to the reference is {value}."),
    "psi": N_("{feature} is distributed differently: its PSI is {value}."),
    "wasserstein": N_("{feature} has moved by {value} standard deviations of the reference."),
    "chi_square": N_("{feature} has other shares of its values: Cramer's V is {value}."),
    "missing": N_("{feature} has {now} of its cells without a usable value, and the reference {before}."),
    "unseen": N_("{feature} has {now} of its rows with values that the reference does not have: {examples}."),
}


def _build_message(
    reference: FeatureProfile,
    current: FeatureProfile,
    test: DriftTest | None,
    verdict: Verdict,
    options: DriftOptions,
) -> Message:
    name = reference.name
    if verdict == UNKNOWN or test is None:
        return Message(
            N_("{feature} has {count} values to compare, of at least {need}: nothing is decided."),
            feature=name,
            count=min(reference.present, current.present),
            need=options.min_rows,
        )
    if verdict == STABLE:
        return Message(N_("{feature} shows no drift."), feature=name)
    examples = ", ".join(list(current.unseen)[:5])
    return Message(
        MESSAGES[test.name],
        feature=name,
        value=f"{test.value:.3g}",
        now=format_share(current.invalid if test.name == "missing" else current.unseen_count, current),
        before=format_share(reference.invalid, reference),
        examples=examples,
    )


def format_share(count: int, profile: FeatureProfile) -> str:
    cells = profile.present + profile.invalid
    return f"{100 * count / cells:.3g} %" if cells else "0 %"

"""Which devices count for a test, and what they add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.canary.comparisons import Arms
from deepseek.canary.evidence_spec import DeviceEvidence
from deepseek.canary.spec import CanaryPlan, Gate, Maximum, TestKind
from deepseek.job import EngineError
from deepseek.messages import N_

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


class Fleet:
    """The devices of a look, by name: the order in which they came changes no figure."""

    def __init__(self, plan: CanaryPlan, devices: Sequence[DeviceEvidence]) -> None:
        self.plan = plan
        self.devices = sorted(devices, key=lambda device: device.device)
        self.strata = sorted({device.stratum for device in self.devices})
        places = {name: place for place, name in enumerate(self.strata)}
        self.stratum = np.array([places[each.stratum] for each in self.devices], dtype=int)
        self.is_canary = np.array([each.arm == "canary" for each in self.devices], dtype=bool)
        self.is_installed = np.array([each.installed for each in self.devices], dtype=bool)
        self.is_failed = np.array([each.failed for each in self.devices], dtype=bool)
        silent_seconds = np.array([each.silent_seconds for each in self.devices], dtype=float)
        self.is_silent = self.is_installed & ~self.is_failed & (silent_seconds >= plan.silence_seconds)
        observed = np.array([each.observed_seconds for each in self.devices], dtype=float)
        ended = self.is_failed | self.is_silent
        soaked_share = np.where(self.is_installed, np.minimum(1, observed / plan.soak_seconds), 0.0)
        self.exposure = np.where(ended, 1.0, soaked_share)
        self.is_resolved = ended | (self.is_installed & (observed >= plan.soak_seconds))
        self.is_reached = self.is_installed | self.is_failed

    def build_sample(self, gate: Gate, test: TestKind) -> Sample:
        """What one test of a gate is made on. Non-inferiority takes only devices whose soak time is over."""
        values = self._read_values(gate)
        in_use = np.isfinite(values)
        if test == "non_inferiority":
            in_use &= self.is_resolved
        if gate.reference == "limit":
            in_use &= self.is_canary
        exposure = np.ones(len(values)) if gate.measure == "install_failure" else self.exposure
        arms = [self._sum_arm(values, in_use & side) for side in (self.is_canary, ~self.is_canary)]
        exposures = [self._sum_by_stratum(exposure, in_use & side) for side in (self.is_canary, ~self.is_canary)]
        pairs = [pair for both in zip(*arms, strict=True) for pair in both]
        has_one_sign = bool((values[in_use] >= 0).all() or (values[in_use] <= 0).all())
        return Sample(tuple(self.strata), Arms(*pairs), exposures[0], exposures[1], has_one_sign)

    def find_uncovered_strata(self) -> dict[str, int]:
        """{stratum: canary devices} of those that no control device stands beside."""
        size = len(self.strata)
        canary = np.bincount(self.stratum[self.is_canary & self.is_reached], minlength=size)
        control = np.bincount(self.stratum[~self.is_canary & self.is_reached], minlength=size)
        return {
            name: int(canary[place]) for place, name in enumerate(self.strata) if canary[place] and not control[place]
        }

    def _read_values(self, gate: Gate) -> Floats:
        """The figure of each device, NaN where it has none; greater is worse."""
        if gate.measure == "value":
            values = np.full(len(self.devices), np.nan)
            for place, device in enumerate(self.devices):
                value = device.values.get(gate.name)
                if value is None or value.count < gate.min_observations:
                    continue
                if gate.scale == "binary" and value.mean not in (0.0, 1.0):
                    raise _build_not_binary_error(gate, device.device, value.mean)
                values[place] = value.mean
            if gate.better == "lower":
                return values
            return 1 - values if gate.scale == "binary" else -values
        events = {
            "install_failure": self.is_failed,
            "silence": self.is_silent,
            "failure": self.is_failed | self.is_silent,
        }[gate.measure]
        in_question = self.is_installed if gate.measure == "silence" else self.is_reached
        return np.where(in_question, events.astype(float), np.nan)

    def _sum_by_stratum(self, values: Floats, in_use: Any) -> Floats:
        sums = np.bincount(self.stratum[in_use], weights=values[in_use], minlength=len(self.strata))
        return sums.astype(float)

    def _sum_arm(self, values: Floats, in_use: Any) -> tuple[Floats, Floats, Floats, Floats]:
        count = self._sum_by_stratum(np.ones(len(values)), in_use)
        total = self._sum_by_stratum(values, in_use)
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        deviations = values - np.nan_to_num(mean)[self.stratum] if len(values) else values
        squares, cubes = (self._sum_by_stratum(deviations**power, in_use) for power in (2, 3))
        noise = count * (1e-12 * np.maximum(np.abs(np.nan_to_num(mean)), 1e-300)) ** 2
        is_noise = squares <= noise  # equal values: rounding is no variance
        return count, mean, np.where(is_noise, 0.0, squares), np.where(is_noise, 0.0, cubes)


@dataclass(frozen=True)
class Sample:
    """Both arms by stratum, and how much of the planned observation stands behind them, in devices."""

    strata: tuple[str, ...]
    arms: Arms
    canary_exposure: Floats
    control_exposure: Floats
    has_one_sign: bool

    @property
    def canary(self) -> int:
        return int(self.arms.canary.sum())

    @property
    def control(self) -> int:
        return int(self.arms.control.sum())

    @property
    def canary_events(self) -> int:
        return _count_events(self.arms.canary, self.arms.canary_mean)

    @property
    def control_events(self) -> int:
        return _count_events(self.arms.control, self.arms.control_mean)

    def compute_fraction(self, gate: Gate, maximum: Maximum) -> float:
        """The information so far as a share of the planned one, which takes no figure of a device into account.

        A device counts by its share of the soak time. That is exact where devices come one after the other; where all
        are observed longer and longer, it assumes looks less correlated than they are, and so errs on the safe side.
        """
        if gate.reference == "limit":
            return min(1.0, float(self.canary_exposure.sum()) / maximum.canary)
        both = self.canary_exposure + self.control_exposure
        pairs = np.sum(self.canary_exposure * self.control_exposure / np.maximum(both, 1e-300))
        return min(1.0, float(pairs) * (maximum.canary + maximum.control) / (maximum.canary * maximum.control))

    def build_cells(self) -> dict[str, list[float]]:
        """Failures and devices of both arms, by stratum, for the e-process of counts."""
        columns = (
            np.rint(self.arms.canary * np.nan_to_num(self.arms.canary_mean)),
            np.rint(self.arms.control * np.nan_to_num(self.arms.control_mean)),
            self.arms.canary,
            self.arms.control,
        )
        return {name: [float(column[place]) for column in columns] for place, name in enumerate(self.strata)}


def _count_events(count: Floats, share: Floats) -> int:
    return int(np.rint(np.sum(count * np.nan_to_num(share))))


def _build_not_binary_error(gate: Gate, device: str, value: float) -> EngineError:
    return EngineError(
        "not_binary",
        N_("{gate} of device {device} is {number}, and the gate's scale is binary."),
        gate=gate.name,
        device=device,
        number=value,
        value=str(value),
        field=f"/devices/{device}/values/{gate.name}/mean",
        limit="0 or 1",
        hint=N_("Send 0 or 1, or make the gate continuous."),
    )

"""Run checks: those that only look side by side, those that load the machine one after another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deepseek.doctor.catalogue import CHECKS, Check
from deepseek.doctor.findings import Finding, NotApplicable, Unmeasured
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

THREADS = 6  # most wait for a child process
SLOW_FIRST = ("py.tvm", "py.torch_cpu", "py.record", "py.check")  # seconds each: begun at once, they end with the rest


@dataclass(frozen=True)
class CheckResult:
    rule: Rule
    finding: Finding
    seconds: float

    @property
    def is_blocking(self) -> bool:
        """Whether a node with this result takes no jobs."""
        return self.rule.required and self.finding.verdict == "fail"


def run_check(host: Host, rule: Rule, check: Check, level: int = 3) -> CheckResult:
    """The result of one check; what it could not read, and a defect of its own, is `unknown`."""
    start = time.monotonic()
    if rule.level > level:
        finding = Finding("not_applicable", f"Not run at level {level}: it is measured at level {rule.level}.")
        return CheckResult(rule, finding, 0.0)
    try:
        finding = check(host, rule).shorten()
    except NotApplicable as reason:
        finding = Finding("not_applicable", str(reason)).shorten()
    except Unmeasured as reason:
        finding = Finding("unknown", str(reason)).shorten()
    except Exception as error:  # noqa: BLE001  a file or an answer of a form that nobody foresaw: the others go on
        finding = Finding("unknown", f"The answer could not be read: {type(error).__name__}: {error}").shorten()
    return CheckResult(rule, finding, round(time.monotonic() - start, 3))


def run_checks(host: Host, rules: Mapping[str, Rule], ids: Iterable[str], level: int) -> list[CheckResult]:
    """Results in the order of `ids`."""
    chosen = [rules[check_id] for check_id in ids]
    with ThreadPoolExecutor(THREADS) as pool:
        first = sorted((rule for rule in chosen if rule.level == 1), key=lambda rule: rule.id not in SLOW_FIRST)
        quiet = {rule.id: pool.submit(run_check, host, rule, CHECKS[rule.id], level) for rule in first}
        results = {check_id: future.result() for check_id, future in quiet.items()}
    for rule in chosen:
        if rule.level > 1:
            results[rule.id] = run_check(host, rule, CHECKS[rule.id], level)
    return [results[rule.id] for rule in chosen]

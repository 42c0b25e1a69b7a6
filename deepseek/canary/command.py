"""``deepseek canary PLAN.json EVIDENCE.json``: the verdict on a wave of canaries, as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def show_verdict(words: Sequence[str]) -> int:
    """Print the verdict and return 0, whatever it says. Raises EngineError for a file or a field at fault."""
    arguments = _build_parser().parse_args(words)
    from deepseek.canary.evidence_spec import Evidence
    from deepseek.canary.run import format_verdict, read_document
    from deepseek.canary.spec import CanaryPlan

    plan = read_document(CanaryPlan, arguments.plan, "plan")
    evidence = read_document(Evidence, arguments.evidence, "evidence")
    from deepseek.canary.verdict import evaluate_canary

    print(format_verdict(evaluate_canary(plan, evidence)), end="")
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepseek canary",
        description="Compare canary devices with control devices, and print whether a wave may go on.",
        allow_abbrev=False,
    )
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="gates, sample, soak time, error probabilities")
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE.json", help="the devices, and the looks so far")
    return parser

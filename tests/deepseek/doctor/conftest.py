from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.doctor.conflict_rules import load_builtin_rules
from deepseek.doctor.execution import CheckResult, run_check
from deepseek.doctor.host import Host
from deepseek.doctor.replay import open_captured
from deepseek.doctor.rules import load_rules
from tests.deepseek.doctor.mutations import SMI, Mutation

TREE = Path(__file__).parent / "trees" / "gpu_node"


def open_mutated(mutation: Mutation) -> Host:
    """The healthy GPU node with a change."""
    changes = dict(mutation.changes)
    if mutation.smi:
        answer = next(each for each in (TREE / "commands").glob("nvidia-smi-q-x*")).read_text().partition("\n")[2]
        before, after = mutation.smi
        assert before in answer, before
        changes[SMI] = answer.replace(before, after, 1)
    host = open_captured(TREE, changes, mutation.env, mutation.registered)
    host.conflict_rules = load_builtin_rules()["rules"]
    return host


@pytest.fixture(scope="session")
def rules():
    return load_rules(TREE / "site.toml")


@pytest.fixture
def examine(rules) -> Callable[..., CheckResult]:
    """Run one check on the healthy node with a change."""
    from deepseek.doctor.catalogue import CHECKS

    def run(check_id: str, mutation: Mutation | None = None) -> CheckResult:
        return run_check(open_mutated(mutation or Mutation()), rules[check_id], CHECKS[check_id])

    return run

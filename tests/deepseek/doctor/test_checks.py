"""The 127 checks on a captured GPU node: healthy, and each with what makes it fail."""

from deepseek.doctor.catalogue import CHECKS
from deepseek.doctor.execution import run_checks
from deepseek.doctor.rules import load_rules
from tests.deepseek.doctor.conftest import open_mutated
from tests.deepseek.doctor.mutations import MUTATIONS, Mutation


def test_there_are_127_checks_each_with_its_row_and_its_failing_case():
    rules = load_rules()
    assert len(CHECKS) == 127
    assert list(CHECKS) == list(rules) == list(MUTATIONS)
    bare = [
        rule.id for rule in rules.values() if not all((rule.what, rule.why, rule.measured, rule.remedy, rule.group))
    ]
    assert not bare


def test_groups_have_the_sizes_of_the_specification():
    sizes: dict[str, int] = {}
    for rule in load_rules().values():
        sizes[rule.group] = sizes.get(rule.group, 0) + 1
    assert list(sizes.values()) == [9, 9, 12, 12, 12, 7, 11, 9, 11, 13, 6, 16]


def test_a_healthy_gpu_node_passes_every_check_at_level_3(rules):
    results = run_checks(open_mutated(Mutation()), rules, list(rules), 3)
    others = {result.rule.id: result.finding for result in results if result.finding.verdict != "ok"}
    assert list(others) == ["gpu.retired_pages"]  # an A100 remaps rows instead
    assert others["gpu.retired_pages"].verdict == "not_applicable"


def test_every_check_fails_or_warns_on_its_mutation(examine):
    wrong = {}
    for check_id, mutation in MUTATIONS.items():
        finding = examine(check_id, mutation).finding
        if finding.verdict not in mutation.verdicts or not finding.why:
            wrong[check_id] = finding
    assert not wrong


def test_what_a_captured_tree_lacks_is_unknown_or_not_applicable_and_never_ok(rules, tmp_path):
    (tmp_path / "commands").mkdir()
    from deepseek.doctor.replay import open_captured

    results = run_checks(open_captured(tmp_path), rules, list(rules), 3)
    claimed = [result.rule.id for result in results if result.finding.verdict == "ok"]
    assert set(claimed) <= {"cpu.threads", "iso.ipv6", "os.conflicts", "disk.read_seq", "net.peers"}, claimed

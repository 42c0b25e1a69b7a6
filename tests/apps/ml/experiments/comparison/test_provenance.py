"""What runs were made of: the lines that differ, the engine's version beside a code that does, the others counted."""

from __future__ import annotations

from apps.ml.experiments.comparison.provenance import compare_code, compare_environment
from apps.ml.experiments.models import Run

BASE = {"python": "3.11", "packages": {"torch": "2.9", "deepseek-offline": "1"}, "threads": 2}


def run(code="c", inputs=None, **environment) -> Run:
    return Run(code_digest=code * 64, inputs=inputs or {"table": "t" * 64}, environment=BASE | environment)


def test_equal_runs_have_no_lines():
    both = [run(), run()]
    assert (compare_code(both, {}).rows, compare_code(both, {}).equal) == ([], 3)
    assert (compare_environment(both).rows, compare_environment(both).equal) == ([], 3)


def test_where_the_code_differs_the_engine_is_told_too():
    rows = {row.key: row.values for row in compare_code([run("c"), run("d")], {}).rows}
    assert rows == {"code": ["c" * 64, "d" * 64], "engine": ["1", "1"]}


def test_what_a_client_says_of_its_code():
    runs = [run(), run()]
    tags = {runs[0].pk: {"mlflow.source.git.commit": "aa"}, runs[1].pk: {"mlflow.source.git.commit": "bb"}}
    assert [(row.key, row.values) for row in compare_code(runs, tags).rows] == [
        ("mlflow.source.git.commit", ["aa", "bb"])
    ]


def test_packages_and_machine_line_by_line():
    image = {"name": "vision", "digest": f"sha256:{'ab' * 32}"}
    other = run(packages={"torch": "2.8", "deepseek-offline": "1"}, gpus=[{"name": "H100", "driver": "5"}], image=image)
    rows = {row.key: row.values for row in compare_environment([run(), other]).rows}
    assert rows == {"torch": ["2.9", "2.8"], "GPU": ["", "H100 (5)"], "image": ["", "vision (abababababab)"]}


def test_an_input_that_only_one_has():
    rows = compare_code([run(), run(inputs={"table": "t" * 64, "base": "b" * 64})], {}).rows
    assert [(row.key, row.values) for row in rows] == [("input base", ["", "b" * 64])]


def test_an_environment_from_outside_need_not_have_our_form():
    odd = Run(environment={"packages": ["torch"], "image": "torch"}, inputs={})
    assert compare_environment([odd, odd]).rows == []

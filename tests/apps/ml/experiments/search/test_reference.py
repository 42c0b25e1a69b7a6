"""The same filters and orders to MLflow's own store and to the plane: the same runs in the same order, or both refuse.

Runs where MLFLOW_ENV names an environment with `mlflow` in it; what it found before is in the other tests as literals.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from apps.ml.experiments.filters.grammar import FilterError
from apps.ml.experiments.search.runs import RunQuery, search_runs
from tests.apps.ml.experiments.search.cases import made_cases, made_runs

MLFLOW_ENV = os.environ.get("MLFLOW_ENV", "")
SCRIPT = Path(__file__).with_name("reference.py")

pytestmark = [
    pytest.mark.services,  # the tier that has MLFLOW_ENV
    pytest.mark.skipif(not MLFLOW_ENV, reason="MLFLOW_ENV names no environment with mlflow"),
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> tuple[list[dict], list[tuple[dict, list[str] | str]]]:
    """Runs, and for each case what MLflow's store answers: ids in order, or the text of the refusal."""
    runs = made_runs()
    cases = made_cases(runs)
    command = [f"{MLFLOW_ENV}/bin/python", SCRIPT, tmp_path_factory.mktemp("mlflow")]
    given = json.dumps({"runs": runs, "cases": cases})
    answers = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert answers.returncode == 0, answers.stderr
    return runs, list(zip(cases, json.loads(answers.stdout), strict=True))


@pytest.mark.parametrize("limit", [1000, 4])
def test_finds_what_mlflow_finds(actor, project, keep, reference, limit):
    runs, expectations = reference
    keep(runs)
    wrong = []
    for case, expected in expectations:
        found = answered(actor, project, case, limit)
        agrees = found == expected if isinstance(expected, list) else isinstance(found, str)
        if not agrees:
            wrong.append((case, expected, found))
    assert wrong[:5] == []


def answered(actor, project, case: dict, limit: int) -> list[str] | str:
    """The ids in order, page after page, or the text of the refusal."""
    query = {"experiments": case["experiments"], "filter": case["filter"], "order_by": case["order_by"]}
    found, token = [], ""
    try:
        while True:
            page = search_runs(actor, project.pk, RunQuery(**query, view=case["view"], limit=limit, token=token))
            found += [row.id for row in page.rows]
            token = page.token
            if not token:
                return found
    except FilterError as error:
        return error.message

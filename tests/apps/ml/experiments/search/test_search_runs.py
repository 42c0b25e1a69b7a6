"""The search of runs: what MLflow finds, in its order, page after page. What is expected here MLflow has answered."""

from __future__ import annotations

import pytest

from apps.ml.experiments.filters.grammar import FilterError
from apps.ml.experiments.filters.grammar import parse as parsed
from apps.ml.experiments.filters.runs import build_filter_expression
from apps.ml.experiments.filters.vocabularies import RUNS
from apps.ml.experiments.models import Run
from apps.ml.experiments.search.paging import BadToken
from apps.ml.experiments.search.runs import RunQuery, search_runs
from apps.platform.accounts.models import Project
from tests.apps.ml.experiments.search.cases import made_cases, made_runs

pytestmark = pytest.mark.services

WINE = {"name": "wine", "digest": "abc", "context": "training"}


@pytest.fixture
def four(keep, one):
    """alpha (a), beta (b), gamma (c), and one deleted (d), as they were in MLflow."""
    keep(
        [
            one("a", name="alpha", user="ann", status="FINISHED", start=1000, end=1100, datasets=[WINE],
                metrics={"acc": 0.9, "m.dot": 1.0}, params={"lr": "0.1", "depth": "3"},
                tags={"team": "vision", "note": "50% off"}),
            one("b", name="beta", user="bob", status="FAILED", start=2000, end=2200,
                metrics={"acc": 0.7}, params={"lr": "0.01"}, tags={"team": "Vision"}),
            one("c", name="gamma", user="cat", start=3000, metrics={"acc": "NaN"}, params={"lr": "0.1"},
                tags={"a b": "spaced"}),
            one("d", name="gone", start=500, deleted=True),
        ]
    )  # fmt: skip


FOUND = {
    "": "cba",
    "metrics.acc > 0.6": "ba",
    "metrics.acc >= 0.7 and metrics.acc <= 0.9": "ba",
    "metrics.acc != 0.7": "ca",
    "metrics.acc < 1e0": "ba",
    "metrics.acc < -1.5e-3": "",
    "metrics.m.dot = 1": "a",
    "params.lr = '0.1'": "ca",
    "params.lr != '0.1'": "b",
    "params.lr LIKE '0.0%'": "b",
    "params.depth IS NULL": "cb",
    "params.depth IS NOT NULL": "a",
    "tags.team = 'vision'": "a",
    "tags.team ILIKE 'VISION'": "ba",
    "tags.team LIKE 'v_sion'": "a",
    "tags.team LIKE 'V%'": "b",
    "tags.team != 'vision'": "b",
    "tags.note LIKE '50%'": "a",
    "tags.`a b` = 'spaced'": "c",
    "tags.team IS NULL": "c",
    "tags.mlflow.runName = 'alpha'": "a",
    "status = 'FAILED'": "b",
    "status != 'RUNNING'": "ba",
    "status = 'finished'": "",
    "attr.run_name LIKE '%a'": "cba",
    "run.run_name ILIKE 'ALPHA'": "a",
    "attributes.`Run name` = 'beta'": "b",
    f"run_id IN ('{'a' * 32}', '{'b' * 32}')": "ba",
    f"run_id NOT IN ('{'a' * 32}')": "cb",
    "user_id LIKE 'b%'": "b",
    f"artifact_uri = 'mlflow-artifacts:/1/{'a' * 32}/artifacts'": "a",
    "start_time > 1000": "cb",
    "attributes.Created = 2000": "b",
    "end_time < 2000": "a",
    "end_time != 2200": "a",
    "start_time >= 99999999999999999999": "",
    "start_time < 99999999999999999999": "cba",
    "dataset.name = 'wine'": "a",
    "dataset.context = 'training'": "a",
    "dataset.name NOT IN ('wine')": "",
    "params.lr = '0.1' and tags.team = 'vision' AND metrics.acc > 0": "a",
}


@pytest.mark.usefixtures("four")
def test_finds(ask):
    assert {text: ask(text) for text in FOUND} == FOUND


@pytest.mark.usefixtures("four")
def test_orders_hold_from_page_to_page(ask):
    for orders, expected in (
        (["metrics.acc DESC"], "abc"),
        (["metrics.acc"], "bac"),
        (["params.lr ASC", "start_time ASC"], "bac"),
        (["tags.team DESC"], "abc"),
        (["run_name"], "abc"),
        (["attribute.status ASC"], "bac"),
        (["end_time DESC"], "bac"),
        (["metrics.nothing ASC"], "cba"),
        (["metrics.m.dot DESC", "run_name"], "abc"),
    ):
        assert {limit: ask("", *orders, limit=limit) for limit in (1, 2, 1000)} == dict.fromkeys((1, 2, 1000), expected)


@pytest.mark.usefixtures("four")
def test_views(ask):
    assert ask(view="ALL") == "cbad"
    assert ask(view="DELETED_ONLY") == "d"


def test_merges_experiments_in_order(ask, keep, one):
    keep([one(letter, experiment=str(1 + number % 3), start=number) for number, letter in enumerate("abcdef")])
    assert ask(experiments=["1", "2", "3"], limit=2) == "fedcba"
    assert ask("", "run_name", experiments=["1", "3", "99", "x"], limit=2) == "acdf"
    assert ask(experiments=["99"]) == ask(experiments=[]) == ""


def test_ties_go_by_start_downwards_and_id_upwards(ask, keep, one):
    keep([one(letter, start=int(letter in "bc"), metrics={"acc": 0.5}) for letter in "dcab"])
    assert ask("", "metrics.acc DESC", limit=1) == ask("", "metrics.acc ASC", limit=3) == "bcad"


def test_numbers_then_nan_then_missing_in_both_directions(ask, keep, one):
    values = {"a": 0.5, "b": "NaN", "c": -1.5, "e": "NaN", "f": 2.0}
    keep([one(letter, metrics={"acc": values[letter]} if letter in values else {}) for letter in "abcdef"])
    assert ask("", "metrics.acc DESC", limit=2) == "facbed"
    assert ask("", "metrics.acc ASC", limit=1) == "cafbed"
    assert ask("metrics.acc != 0.5", "metrics.acc ASC") == "cfbe"


def test_a_later_page_stands_when_runs_come(actor, project, keep, one):
    keep([one(letter, start=number) for number, letter in enumerate("abcd", 1)])
    first = search_runs(actor, project.pk, RunQuery(experiments=["1"], limit=2))
    Run.objects.create(
        id="e" * 32, project=project, experiment=Run.objects.first().experiment, name="e", created_by="t"
    )
    second = search_runs(actor, project.pk, RunQuery(experiments=["1"], limit=2, token=first.token))
    assert [row.id[0] for row in (*first.rows, *second.rows)] == ["d", "c", "b", "a"]
    assert second.token == ""


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize(
    "other",
    [{"filter": "metrics.acc > 0"}, {"order_by": ["run_name"]}, {"view": "ALL"}, {"experiments": ["1", "2"]}],
)
def test_refuses_a_token_of_another_query(actor, project, other):
    query = {"experiments": ["1"], "limit": 1}
    token = search_runs(actor, project.pk, RunQuery(**query)).token
    with pytest.raises(BadToken):
        search_runs(actor, project.pk, RunQuery(**(query | other), token=token))


@pytest.mark.usefixtures("four")
def test_refuses_an_invalid_token(actor, project):
    for token in ("rubbish", "W10=", "WyJhIiwwLFtdXQ==", "é", "bnVsbA==", "W1tbW1tbW1s=", "x" * 300_000):
        with pytest.raises(BadToken, match="Invalid page token"):
            search_runs(actor, project.pk, RunQuery(experiments=["1"], token=token))


def test_sees_nothing_of_another_project(actor, project, keep, one):
    keep([one("a")], into=Project.objects.create(slug="other", name="other"))
    assert search_runs(actor, project.pk, RunQuery(experiments=["1"])).rows == []
    other = Project.objects.get(slug="other")
    assert search_runs(actor, other.pk, RunQuery(experiments=["1"])).rows == []


def test_long_values_are_told_apart_behind_what_the_index_holds(ask, keep, one):
    long = "v" * 64
    keep([one(letter, params={"k": long + letter}, tags={"t": long}) for letter in "ab"])
    assert ask(f"params.k = '{long}a'") == "a"
    assert ask(f"tags.t = '{long}'") == "ba"[::-1]
    assert ask(f"tags.t = '{long[1:]}'") == ""


def test_a_value_that_many_runs_have_is_walked_to(ask, keep, one, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.filters.runs.FEW", 2)
    keep(
        [
            one(letter, start=number, params={"k": "x" if letter in "bdf" else "y"})
            for number, letter in enumerate("abcdef")
        ]
    )
    assert ask("params.k = 'x'", limit=1) == "fdb"


def test_many_comparisons_mean_what_one_means(ask, keep, one):
    keep([one("a", params={"k": "x"}, tags={"t": "y"}), one("b", params={"k": "x"})])
    both = ["params.k = 'x'", "params.k LIKE 'x%'", "params.k != 'z'", "tags.u IS NULL", "dataset.name = 'wine'"]
    assert ask(" AND ".join(both[:4])) == "ab"
    assert ask(" AND ".join([*both[:4], "tags.t IS NULL", "tags.t IS NULL"])) == "b"
    assert ask(" AND ".join(both)) == ""


def test_the_same_conditions_serve_a_queryset(keep):
    runs = made_runs()
    keep(runs)
    asked = [case["filter"] for case in made_cases(runs, count=60)]
    told = 0
    for text in asked:
        try:
            comparisons = parsed(text, RUNS)
        except FilterError:
            continue
        told += Run.objects.filter(build_filter_expression(comparisons)).exclude(pk="").count()
    assert told > 100


@pytest.mark.usefixtures("four")
@pytest.mark.parametrize("orders", [[], ["metrics.acc DESC"], ["params.lr"]])
def test_asks_a_constant_number_of_queries(actor, project, django_assert_max_num_queries, orders):
    query = RunQuery(experiments=["1"], order_by=orders, limit=2, filter="tags.team LIKE '%'")
    with django_assert_max_num_queries(5):
        search_runs(actor, project.pk, query)

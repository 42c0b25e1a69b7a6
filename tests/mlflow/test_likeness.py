"""The comparison itself: what it takes for the same, what it does not, and what it makes of its table."""

import pytest

from tests.mlflow import likeness
from tests.mlflow.conversation import Answer, filled, repeated, written_out
from tests.mlflow.likeness import Known, differences, lines, meant, normal

RUN, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def answer(body, status=200, **step):
    return Answer({"ask": "GET runs/get", **step}, {}, status, "application/json", body, {"x": "1"})


def differing(first, second, names=None, others=None):
    return list(lines(normal(answer(first), names or {}), normal(answer(second), others or {})))


def test_ids_moments_and_invented_names_are_no_difference():
    first = {"run_id": RUN, "artifact_uri": f"mlflow-artifacts:/7/{RUN}/artifacts", "start_time": 1_700_000_000_000}
    second = {
        "run_id": OTHER,
        "artifact_uri": f"mlflow-artifacts:/9/{OTHER}/artifacts",
        "start_time": 1_800_000_000_000,
    }
    names = {"run": RUN, "exp": "7"}, {"run": OTHER, "exp": "9"}
    assert differing(first | {"run_name": "bold-fox-1"}, second | {"run_name": "shy-owl-22"}, *names) == []


def test_the_id_of_another_thing_is_a_difference():
    names = {"run": RUN, "second": OTHER}
    assert differing({"run_id": RUN}, {"run_id": OTHER}, names, names) == ['body.run_id: "${run}" != "${second}"']


def test_a_status_a_key_and_a_type_are_differences():
    assert list(lines(normal(answer({}, 400), {}), normal(answer({}, 404), {}))) == ["status: 400 != 404"]
    assert differing({"a": 1}, {"b": 1}) == ["body.a: only the reference has it", "body.b: only the plane has it"]
    assert differing({"step": 1}, {"step": "1"}) == ['body.step: 1 != "1"']
    assert len(differing({"runs": [1]}, {"runs": [1, 2]})) == 1


def test_tags_have_no_order_and_a_history_has():
    tags = [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]
    assert differing({"run": {"data": {"tags": tags}}}, {"run": {"data": {"tags": tags[::-1]}}}) == []
    assert differing({"metrics": [{"step": 1}, {"step": 2}]}, {"metrics": [{"step": 2}, {"step": 1}]})


def test_of_a_message_only_what_clients_look_for_counts():
    lacking = {"message": "Missing value for required parameter 'run_id'. See the API docs"}
    assert differing(lacking, {"message": "Missing value for required parameter 'run_id'."}) == []
    assert differing(lacking, {"message": "run_id is required"})


def test_a_page_of_a_web_server_has_but_a_status():
    page = Answer({"ask": "GET x"}, {}, 404, "text/html", "<html>", {})
    assert list(differences(page, {}, answer({"error_code": "ENDPOINT_NOT_FOUND"}, 404), {})) == []
    assert list(differences(page, {}, answer({}, 400), {})) == ["status: 404 != 400"]


def test_headers_count_where_a_step_names_them():
    assert normal(answer({}, headers_of=["x", "y"]), {})["x"] == "1"


def test_an_entry_explains_its_own_lines_of_its_own_steps():
    entry = Known("they keep it", "runs", "^POST runs/create", [r"status: 200 != \d+"])
    assert meant([entry], "POST runs/create {}", "status: 200 != 403")
    assert not meant([entry], "POST runs/create {}", "body.x: 1 != 2")
    assert not meant([entry], "GET runs/get {}", "status: 200 != 403")
    assert entry.met == {r"status: 200 != \d+"}


def test_an_entry_that_did_not_occur_is_told(monkeypatch):
    monkeypatch.setattr(likeness, "known", lambda topic: [Known("it was so", topic, "GET", ["status: 1 != 2"])])
    same = [(answer({}), {})]
    assert likeness.compared("runs", same, same) == ["runs: no longer so: it was so (status: 1 != 2)"]


def test_what_nobody_meant_is_told_with_its_step():
    (told,) = likeness.compared("none", [(answer({"a": 1}), {})], [(answer({"a": 2}), {})])
    assert "none 0: GET runs/get" in told
    assert "body.a: 1 != 2" in told


@pytest.mark.parametrize(
    ("value", "made"), [("${run}/a", "7/a"), ("${x*3}", "xxx"), ({"${run}": ["${run}"]}, {"7": ["7"]}), (5, 5)]
)
def test_names_are_filled_in(value, made):
    assert filled(value, {"run": "7"}) == made


def test_shorts_are_written_out():
    assert written_out({"search": "a = 1"})["body"] == {"experiment_ids": ["${exp}"], "filter": "a = 1"}
    assert repeated({"tags": [{"key": "t{n}"}]}, {"tags": 2}) == {"tags": [{"key": "t0"}, {"key": "t1"}]}

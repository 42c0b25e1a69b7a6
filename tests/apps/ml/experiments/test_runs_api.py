"""Runs for programs: lists and their orders, one run, its points, several runs side by side."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from apps.ml.experiments import queries
from apps.ml.experiments.models import MetricPoint, Run

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def get(api, engineer, url):
    """get(path) -> (status, JSON)."""
    client = api(engineer)

    def ask(tail=""):
        answer = client.get(url(tail))
        return answer.status_code, answer.json()

    return ask


@pytest.fixture
def three(start, log):
    """Runs of losses 0.3, 0.1, 0.2, begun in this order."""
    runs = [start(params={"lr": str(value), "seed": "0"}) for value in (0.3, 0.1, 0.2)]
    for run, value in zip(runs, (0.3, 0.1, 0.2), strict=True):
        log(run, loss=[9, value], **{"test/rmse": [(0, value)]})
    return runs


def ids(answer) -> list[str]:
    return [run["id"] for run in answer[1]["items"]]


def test_newest_first_with_their_metrics(get, three):
    status, shown = get()
    assert (status, [run["id"] for run in shown["items"]]) == (200, [run.pk for run in reversed(three)])
    assert shown["items"][0]["metrics"] == {"test/rmse": 0.2, "loss": 0.2}
    assert shown["items"][0]["experiment"]["number"] == 0


def test_orders_hold_from_page_to_page(get, three):
    orders = {"started": (0, 1, 2), "-started": (2, 1, 0), "metrics.loss": (1, 2, 0), "-metrics.loss": (0, 2, 1)}
    for sort, order in orders.items():
        first = get(f"?sort={sort}&limit=2")
        second = get(f"?sort={sort}&limit=2&cursor={first[1]['next']}")
        assert ids(first) + ids(second) == [three[place].pk for place in order], sort
        assert second[1]["next"] is None, sort


def test_date_filters_apply_to_every_order(get, three):
    Run.objects.filter(pk=three[1].pk).update(started_at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    for sort in ("", "&sort=metrics.loss"):
        assert ids(get(f"?started_before=2026-03-02{sort}")) == [three[1].pk]
        assert set(ids(get(f"?started_after=today{sort}"))) == {three[0].pk, three[2].pk}
        assert get(f"?started_after=soon{sort}")[1]["error"]["field"] == "started_after"


def test_an_order_by_a_metric_leaves_out_who_has_no_number(get, three, start, log):
    start()
    log(start(), loss=[math.nan])
    assert len(ids(get("?sort=metrics.loss"))) == 3
    assert ids(get("?sort=metrics.other")) == []


def test_filters_narrow_each_order(get, start, log, finish):
    kept, failed = start(experiment="oil", name="one"), start(name="two")
    for run in (kept, failed):
        log(run, loss=[1])
    finish(failed, "failed")
    for query in ("status=running", "experiment=1", "name=ON", "status=running&kind=noop"):
        assert ids(get(f"?{query}")) == ids(get(f"?{query}&sort=metrics.loss")) == [kept.pk]


def test_an_invalid_parameter_is_named(get, three):
    for query in ("status=asleep", "kind=clean", "experiment=x", "sort=name"):
        status, shown = get(f"?{query}")
        assert (status, shown["error"]["field"]) == (422, query.partition("=")[0])


def test_a_run_whole(get, start, log, finish, artifact):
    run = start(params={"lr": "0.1"}, inputs={"table": "b" * 64})
    log(run, loss=[math.inf, math.nan])
    finish(run, artifacts=[("model/m", artifact, "x/y")], figures={"rows": 3})
    _, shown = get(f"/{run.pk}")
    assert (shown["status"], shown["params"], shown["inputs"]) == ("finished", {"lr": "0.1"}, {"table": "b" * 64})
    assert (shown["metrics"], shown["metrics_digest"], shown["metrics_count"]) == (
        {"loss": "NaN"},
        run.metrics_digest,
        2,
    )
    assert shown["artifacts"] == [{"path": "model/m", "digest": "a" * 64, "size": 5, "media_type": "x/y"}]
    assert shown["links"]["job"].endswith(f"/jobs/{run.job_id}")


def test_of_many_artifacts_a_run_tells_the_first(get, run, artifact, monkeypatch):
    monkeypatch.setattr(queries, "MAX_ARTIFACTS", 2)
    for path in ("b", "a"):
        run.artifacts.create(path=path, artifact=artifact, size=5, media_type="x/y")
    assert get(f"/{run.pk}")[1]["artifacts_truncated"] is False
    run.artifacts.create(path="c", artifact=artifact, size=5, media_type="x/y")
    _, shown = get(f"/{run.pk}")
    assert ([one["path"] for one in shown["artifacts"]], shown["artifacts_truncated"]) == (["a", "b"], True)
    assert shown["links"]["artifacts"].endswith(f"/runs/{run.pk}/artifacts")


def test_artifacts_by_path_in_pages(get, run, artifact):
    paths = [("数" * 499) + letter for letter in "ab"]
    for path in paths:
        run.artifacts.create(path=path, artifact=artifact, size=5, media_type="x/y")
    _, first = get(f"/{run.pk}/artifacts?limit=1")
    assert first["items"] == [{"path": paths[0], "digest": "a" * 64, "size": 5, "media_type": "x/y"}]
    _, second = get(f"/{run.pk}/artifacts?limit=1&cursor={first['next']}")
    assert ([one["path"] for one in second["items"]], second["next"]) == (paths[1:], None)


def test_metrics_by_name_with_their_bounds(get, run, log):
    log(run, loss=[3, -math.inf, 2], accuracy=[0.5])
    _, shown = get(f"/{run.pk}/metrics?limit=1")
    assert [metric["key"] for metric in shown["items"]] == ["accuracy"]
    _, shown = get(f"/{run.pk}/metrics?limit=1&cursor={shown['next']}")
    loss = shown["items"][0]
    assert (loss["value"], loss["lowest"], loss["lowest_step"], loss["highest"], loss["count"]) == (
        2,
        "-Infinity",
        2,
        3,
        3,
    )


def test_history_by_step_in_pages(get, run, log):
    log(run, loss=[(3, 1), (1, 3), (2, 2)])
    _, shown = get(f"/{run.pk}/metrics/history?key=loss&limit=2")
    assert [(point["step"], point["value"]) for point in shown["items"]] == [(1, 3), (2, 2)]
    _, shown = get(f"/{run.pk}/metrics/history?key=loss&limit=2&cursor={shown['next']}")
    assert [point["step"] for point in shown["items"]] == [3]


def test_unknown_runs_and_metrics_are_404(get, run):
    tails = ["/" + "0" * 32, "/x", "/points"]
    tails += [f"/{run.pk}/metrics/history{query}" for query in ("", "?key=nothing", "?key=%00")]
    assert {tail: get(tail)[0] for tail in tails} == dict.fromkeys(tails, 404)


def test_compare_names_what_differs(get, three):
    _, shown = get(f"/compare?ids={three[0].pk},{three[1].pk}")
    assert [run["id"] for run in shown["runs"]] == [three[0].pk, three[1].pk]
    assert shown["params"] == [
        {"key": "lr", "differs": True, "values": ["0.3", "0.1"]},
        {"key": "seed", "differs": False, "values": ["0", "0"]},
    ]
    assert shown["metrics"][0] == {"key": "loss", "values": [0.3, 0.1]}


def test_compare_takes_two_to_twenty_that_are_there(get, three, start):
    assert get(f"/compare?ids={three[0].pk}")[1]["error"]["field"] == "ids"
    assert get("/compare")[0] == 422
    assert get(f"/compare?ids={three[0].pk},{'0' * 32}")[0] == 404
    many = ",".join(start().pk for _ in range(21))
    assert get(f"/compare?ids={many}")[0] == 422


def test_every_point_as_csv(api, engineer, url, three, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.queries.POINTS_PER_READ", 1)
    answer = api(engineer).get(url(f"/points.csv?ids={three[0].pk},{three[1].pk}&key=loss"))
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines[0] == "run,key,step,value,at"
    assert {tuple(line.split(",")[:4]) for line in lines[1:]} == {
        (run.pk, "loss", step, value)
        for run, last in ((three[0], "0.3"), (three[1], "0.1"))
        for step, value in (("1", "9.0"), ("2", last))
    }


def test_a_csv_of_nothing_is_refused(get):
    assert get("/points.csv?key=loss")[1]["error"]["field"] == "ids"
    assert get(f"/points.csv?ids={'0' * 32}")[1]["error"]["field"] == "key"
    assert get(f"/points.csv?ids={'0' * 32}" + "&key=k" * 21)[0] == 422


def test_experiments_by_number(api, engineer, project, start):
    start(), start(experiment="oil")
    shown = api(engineer).get(f"/api/v1/projects/{project.slug}/experiments").json()
    assert [(one["number"], one["name"]) for one in shown["items"]] == [(1, "oil"), (0, "Default")]


def test_users_outside_the_project_cannot_read_runs(web, url, run, log, stranger, sysadmin, auditor):
    log(run, loss=[1])
    tails = ["", *(f"/{run.pk}{tail}" for tail in ("", "/metrics", "/metrics/history?key=loss", "/artifacts"))]
    tails += [f"/compare?ids={run.pk}"]
    for user, status in ((stranger, 404), (sysadmin, 403), (auditor, 403)):
        client = web(user)
        statuses = {tail: client.get(url(tail)).status_code for tail in tails}
        assert statuses == dict.fromkeys(tails, status), user.username


def test_a_run_of_another_project_is_not_there(get, run, start, add_job, other_project):
    elsewhere = start(add_job(project=other_project))
    assert get(f"/{elsewhere.pk}")[0] == 404
    assert get(f"/compare?ids={run.pk},{elsewhere.pk}")[0] == 404
    assert MetricPoint.objects.count() == 0


def test_nothing_is_written_here(api, engineer, url, run):
    assert api(engineer).post(url(), {}).status_code == 405
    assert api(engineer).delete(url(f"/{run.pk}")).status_code == 405

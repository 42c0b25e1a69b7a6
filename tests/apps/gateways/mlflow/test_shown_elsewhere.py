"""What clients record stands on the plane's own pages and in its own REST answers; what was deleted does not."""

from __future__ import annotations

import pytest


@pytest.fixture
def _recorded(track, run_id):
    params, tags = [{"key": "lr", "value": "0.1"}], [{"key": "team", "value": "vision"}]
    points = [{"key": "loss", "value": 0.5 / (step + 1), "timestamp": 1000 + step, "step": step} for step in range(20)]
    track.post("runs/log-batch", run_id=run_id, metrics=points, params=params, tags=tags)


@pytest.fixture
def rest(api, engineer):
    return lambda path, **query: api(engineer).get(f"/api/v1/projects/demo/{path}", query).json()


@pytest.mark.usefixtures("_recorded")
@pytest.mark.parametrize("tab", ["", "/metrics", "/artifacts"])
def test_the_page_of_a_run(web, engineer, run_id, tab):
    response = web(engineer).get(f"/p/demo/runs/{run_id}{tab}")
    assert response.status_code == 200
    text = response.content.decode()
    assert "first" in text
    if not tab:
        assert "0.025" in text
        assert "lr" in text


@pytest.mark.usefixtures("_recorded")
def test_the_lists(web, engineer, rest, run_id):
    page = web(engineer).get("/p/demo/runs")
    assert run_id[:8] in page.content.decode()
    assert [run["id"] for run in rest("runs")["items"]] == [run_id]
    assert [run["id"] for run in rest("runs", sort="-metrics.loss")["items"]] == [run_id]


@pytest.mark.usefixtures("_recorded")
def test_rest_tells_it_with_its_newest_values(rest, run_id):
    told = rest(f"runs/{run_id}")
    assert (told["job"], told["kind"]) == (None, "")
    points = rest(f"runs/{run_id}/metrics/history", key="loss")["items"]
    assert len(points) == 20


@pytest.mark.usefixtures("_recorded")
def test_deleted_ones_are_left_out_unless_asked_for(track, web, engineer, rest, run_id, experiment_id):
    track.post("runs/delete", run_id=run_id)
    assert run_id[:8] not in web(engineer).get("/p/demo/runs").content.decode()
    assert rest("runs")["items"] == []
    assert [run["id"] for run in rest("runs", deleted="only")["items"]] == [run_id]
    assert [run["id"] for run in rest("runs", deleted="all")["items"]] == [run_id]
    assert rest("runs", deleted="gone")["error"]["field"] == "deleted"
    assert rest("runs", sort="metrics.loss")["items"] == []
    assert rest(f"runs/{run_id}")["id"] == run_id
    track.post("experiments/delete", experiment_id=experiment_id)
    assert [one["number"] for one in rest("experiments")["items"]] == []
    assert [one["name"] for one in rest("experiments", deleted="all")["items"]] == ["iris"]

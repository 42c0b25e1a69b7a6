"""The list of runs with charts of the selected runs, and with data and models by name."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.ml.experiments.keys import PARENT_TAG
from apps.ml.experiments.models import Run, RunDataset, RunPanel, RunTag
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.lineage.models import Edge

pytestmark = pytest.mark.django_db


@pytest.fixture
def runs(start, log):
    runs = [start(name=name) for name in ("one", "two")]
    for run in runs:
        log(run, loss=[3, 2, 1], accuracy=[1, 2, 3])
    return runs


@pytest.fixture
def select(web, viewer, page):
    """select(*runs, tail="/panels", **query) -> the context of what stands beside the list."""
    client = web(viewer)
    return lambda *runs, tail="/panels", **query: (
        client.get(page(tail), {"selected": ",".join(getattr(run, "pk", run) for run in runs), **query}).context
    )


def test_the_losses_of_the_selected_runs_are_drawn(select, runs):
    panels = select(*runs)["panels"]
    assert [panel.title for panel in panels] == ["loss", "accuracy"]
    assert [len(line["points"]) for line in panels[0].chart["series"]] == [3, 3]


def test_the_list_keeps_the_selection_and_fetches_the_part(web, viewer, page, runs):
    client, query = web(viewer), f"?selected={runs[0].pk}"
    text = client.get(page(query)).content.decode()
    assert ("data-pending" in text, text.count(" checked>") >= 1) == (True, True)
    part = client.get(page(f"/panels{query}"), headers={"X-Plane-Poll": "1"}).content.decode()
    assert part.lstrip().startswith("<aside")
    assert "No run is selected." in client.get(page("/panels")).content.decode()


def test_saved_panels_take_their_place(select, runs, project):
    facts = {"project": project, "created_by": "engineer"}
    RunPanel.objects.create(metrics=["accuracy", "loss"], title="Both", axis="relative", **facts)
    RunPanel.objects.create(metrics=["nothing"], **facts)
    both, empty = select(*runs)["panels"]
    assert ([line["label"] for line in both.chart["series"]], both.chart["axis"]) == (
        ["one accuracy", "two accuracy", "one loss", "two loss"],
        "relative",
    )
    assert empty.chart is None


def test_lines_beyond_the_limit_are_counted(select, runs, project, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.workspace.panels.MAX_LINES", 3)
    RunPanel.objects.create(project=project, metrics=["accuracy", "loss"], created_by="engineer")
    (panel,) = select(*runs)["panels"]
    assert (len(panel.chart["series"]), panel.undrawn) == (3, 1)


def test_nonsense_selects_nothing(select, runs, start, web, stranger, page):
    assert select("nonsense", "0" * 32, "\x00")["selected_runs"] == []
    assert select(start(name="without"))["panels"] == []
    assert select(runs[0], x="depth")["wrong_look"].field == "x"
    assert web(stranger).get(page(f"/panels?selected={runs[0].pk}")).status_code == 404


def test_the_page_with_charts_costs_at_most_twenty_queries(web, engineer, page, runs, project):
    for axis in ("step", "relative"):
        RunPanel.objects.create(project=project, metrics=["loss"], axis=axis, created_by="engineer")
    client = web(engineer)
    for tail, charts in (("", 0), ("/panels", 2)):
        where = page(f"{tail}?selected={runs[0].pk},{runs[1].pk}")
        client.get(where)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(where)
        assert (answer.content.count(b'data-chart="lines"'), len(queries) <= 20) == (charts, True), len(queries)


def count_queries(client, where):
    client.get(where)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(where).status_code == 200
    return len(queries)


def test_jobs_beside_nested_client_runs_cost_at_most_twenty_queries(
    web, engineer, page, runs, start, log, project, version, artifact
):
    job_run = start(name="of a job", inputs={"table": artifact.pk}, params={"task": "regression", "target": "y"})
    log(job_run, loss=[4])
    facts = {"project": project, "experiment": runs[0].experiment, "state": "running"}
    parents = [Run.objects.create(name=f"parent {number}", **facts) for number in range(2)]
    for parent in parents:
        children = [Run.objects.create(name=f"child of {parent.name}", **facts) for _ in range(2)]
        log(children[0], loss=[5])
        RunDataset.objects.create(run=children[0], name="wti", digest="aaaa")
        for child in children:
            RunTag.objects.create(run=child, key=PARENT_TAG, value=parent.pk)
            RunTag.objects.create(run=child, key="team", value="a")
    client, expand = web(engineer), f"expand={parents[0].pk},{parents[1].pk}"
    columns = "columns=run,tags,status,dataset,model,params.task,metrics.loss"
    addresses = [page(), page(f"?{expand}"), page(f"?{expand}&{columns}"), page("?tree=off"), page(f"/{job_run.pk}")]
    counts = {where: count_queries(client, where) for where in [*addresses, page(f"/{parents[0].pk}")]}
    assert {where: count for where, count in counts.items() if count > 20} == {}
    context = client.get(page(f"?{expand}")).context
    names = [row["run"].name for row in context["rows"] if row["is_nested"]]
    assert sorted(names) == [f"child of parent {number}" for number in (0, 0, 1, 1)]
    assert context["group_keys"][-1] == "tags.team"


def test_the_tray_leads_to_the_charts_without_a_script(web, engineer, page, runs):
    answer = web(engineer).post(page("/bulk"), {"ids": [run.pk for run in runs], "do": "charts"})
    assert answer.headers["Location"] == page(f"/panels?selected={runs[0].pk},{runs[1].pk}")


# -- names ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def version(project, artifact):
    dataset = Dataset.objects.create(project=project, name="load", created_by="x", versions_count=2)
    facts = {"manifest": "{}", "media_type": "text/csv", "size": 1, "created_by": "x"}
    versions = [DatasetVersion.objects.create(dataset=dataset, number=n, digest=f"{n}" * 64, **facts) for n in (1, 2)]
    for each in versions:
        DatasetFile.objects.create(version=each, path="t.csv", artifact=artifact, media_type="text/csv")
    return versions[0]


def test_data_is_named_as_the_lineage_recorded_it(web, viewer, page, project, version, start, artifact):
    by_bytes, by_edge, by_client = (start(name=name, inputs={"table": artifact.pk}) for name in "abc")
    ends = {"source_type": "dataset_version", "source_id": str(version.pk), "source_label": "load v1"}
    Edge.objects.create(project=project, target_type="job", target_id=str(by_edge.job_id), role="table", **ends)
    type(by_client).objects.filter(pk=by_client.pk).update(kind="", job=None, inputs={})
    RunDataset.objects.create(run=by_client, name="wti", digest="aaaa")
    client = web(viewer)
    rows = {row["run"].pk: row for row in client.get(page()).context["rows"]}
    names = {run: [link.label for link in row["datasets"]] for run, row in rows.items()}
    assert names == {by_bytes.pk: ["load v2"], by_edge.pk: ["load v1"], by_client.pk: ["wti"]}
    assert "load v2" in client.get(page("?format=csv")).getvalue().decode()


def test_models_are_named(web, viewer, page, project, runs):
    model = Model.objects.create(project=project, name="plant", created_by="x")
    facts = {"document": "{}", "task": "", "target": "", "created_by": "x"}
    ModelVersion.objects.create(model=model, number=3, digest="d" * 64, run=runs[0], **facts)
    text = web(viewer).get(page()).content.decode()
    assert f'href="/p/{project.slug}/models/plant/3"' in text
    assert "plant v3" in text

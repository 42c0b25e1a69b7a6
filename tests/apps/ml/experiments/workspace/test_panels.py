"""Panels of the runs workspace: charts that a project keeps, by pages and by REST."""

from __future__ import annotations

import pytest

from apps.ml.experiments.models import RunPanel
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
LOSS = {"metrics": ["loss"], "axis": "step", "scale": "log", "smooth": 0.5}


@pytest.fixture
def client(api, make_token, engineer):
    return api(make_token(engineer, scopes=["read", "runs:write"])[0])


@pytest.fixture
def add(client, url):
    return lambda **body: client.post(url("/panels"), LOSS | body, format="json")


def test_a_panel_is_added_changed_and_removed(client, url, add):
    panel = add(title="Loss").json()
    assert (panel["metrics"], panel["axis"], panel["scale"], panel["smooth"]) == (["loss"], "step", "log", 0.5)
    where = url(f"/panels/{panel['id']}")
    assert client.patch(where, {"axis": "time"}, format="json").json()["axis"] == "time"
    assert [each["title"] for each in client.get(url("/panels")).json()] == ["Loss"]
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404
    actions = AuditRecord.objects.filter(action__startswith="run_panel.").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == ["run_panel.add", "run_panel.change", "run_panel.remove"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metrics": []}, "metrics"),
        ({"metrics": list("abcde")}, "metrics"),
        ({"metrics": ["a//b"]}, "metrics"),
        ({"axis": "depth"}, "axis"),
        ({"scale": "cubic"}, "scale"),
        ({"smooth": 1}, "smooth"),
        ({"title": "x" * 101}, "title"),
    ],
)
def test_a_bad_value_is_refused_by_name(add, body, field):
    answer = add(**body)
    assert (answer.status_code, answer.json()["error"]["field"].strip("/").split("/")[0]) == (422, field)
    assert not RunPanel.objects.exists()


def test_a_project_has_a_limit_of_panels(add, monkeypatch):
    monkeypatch.setattr("apps.ml.experiments.services.panels.MAX_PANELS", 1)
    assert add().status_code == 201
    assert (add().status_code, add().json()["error"]["code"]) == (409, "too_many_panels")


def test_a_viewer_reads_and_a_stranger_sees_nothing(api, make_token, viewer, stranger, url, add, other_project):
    pk = add().json()["id"]
    reader = api(make_token(viewer, scopes=["read", "runs:write"])[0])
    assert reader.get(url("/panels")).status_code == 200
    assert reader.delete(url(f"/panels/{pk}")).status_code == 403
    outsider = api(make_token(stranger, scopes=["read"], project=other_project)[0])
    assert outsider.get(url("/panels")).status_code == 404
    assert outsider.get(f"/api/v1/projects/{other_project.slug}/runs/panels/{pk}").status_code == 404


def test_the_forms_add_change_and_remove(web, engineer, page):
    client, back = web(engineer), page("?selected=1")
    form = {"metrics": ["loss", "acc"], "smooth": "", "back": back}
    assert client.post(page("/panels/new"), form).headers["Location"] == back
    panel = RunPanel.objects.get()
    client.post(page(f"/panels/{panel.pk}"), form | {"title": "Both", "smooth": "0.3"})
    panel.refresh_from_db()
    assert (panel.metrics, panel.title, panel.smooth) == (["loss", "acc"], "Both", 0.3)
    client.post(page(f"/panels/{panel.pk}"), form | {"smooth": "much"})
    client.post(page("/panels/new"), {"metrics": []})
    assert RunPanel.objects.get().smooth == 0.3
    client.post(page(f"/panels/{panel.pk}"), {"do": "remove"})
    assert not RunPanel.objects.exists()

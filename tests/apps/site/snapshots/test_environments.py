"""Environments of nodes as workers report them, and the page and REST that compare them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.ml.experiments.models import Experiment, Run
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import Node
from apps.site.snapshots.environments.queries import get_environment, list_choices
from apps.site.snapshots.environments.services import record_environment
from apps.site.snapshots.models import NodeEnvironment

pytestmark = pytest.mark.django_db
WORKER = build_plane_actor(PlaneRole.WORKER, host="test")
PAGE, API = "/environments", "/api/v1/environments"
OLD = {"python": {"version": "3.11.7"}, "packages": {"torch": "2.12", "numpy": "2.2"}, "firmware": {"board": "A"}}
NEW = {"python": {"version": "3.11.7"}, "packages": {"torch": "2.13", "numpy": "2.2"}, "firmware": {"board": "B"}}


@pytest.fixture
def nodes(db):
    nodes = [Node.objects.create(name=name, host=name) for name in ("gpu-01", "gpu-02")]
    record_environment(actor=WORKER, node=nodes[0], document=OLD)
    NodeEnvironment.objects.update(at=timezone.now() - timedelta(days=10))
    record_environment(actor=WORKER, node=nodes[0], document=NEW)
    record_environment(actor=WORKER, node=nodes[1], document=OLD)
    return nodes


def test_same_environment_again_is_no_new_row(nodes):
    assert record_environment(actor=WORKER, node=nodes[0], document=dict(reversed(NEW.items()))) is None
    assert NodeEnvironment.objects.count() == 3
    assert AuditRecord.objects.filter(action="node.record_environment").count() == 3


def test_only_workers_report(nodes, actor_for, sysadmin):
    with pytest.raises(Refused):
        record_environment(actor=actor_for(sysadmin), node=nodes[0], document=OLD)


def test_two_nodes_and_two_dates_are_compared(nodes, web, engineer, actor_for):
    client = web(engineer)
    before = (timezone.now() - timedelta(days=5)).date()
    for left in "node:gpu-02", f"node:gpu-01@{before}":
        text = client.get(PAGE, {"left": left, "right": "node:gpu-01"}).content.decode()
        assert "2 differences" in text
        assert "2.12" in text
        assert "2.13" in text
    assert "gpu-01 @" in client.get(PAGE).content.decode()
    choices = list_choices(actor_for(engineer))
    assert [name for name, _label in choices[:2]] == ["node:gpu-01", "node:gpu-02"]
    assert get_environment(actor_for(engineer), choices[2][0]).document == OLD


def test_run_is_compared_by_what_it_records(nodes, api, make_token, engineer, project):
    recorded = {
        "python": "3.11.7",
        "packages": {"torch": "2.12"},
        "gpus": [{"index": 0, "name": "H100", "driver": "5"}],
    }
    experiment = Experiment.objects.create(project=project, number=0, name="Default", created_by="engineer")
    run = Run.objects.create(id="a" * 32, project=project, experiment=experiment, environment=recorded)
    client = api(make_token(engineer, project, ["read"])[0])
    answer = client.get(f"{API}/diff?left=run:{run.pk}&right=node:gpu-01").json()
    assert answer["differences"] == [{"section": "packages", "name": "torch", "left": "2.12", "right": "2.13"}]
    assert answer["unreported"] == ["drivers", "firmware"]
    assert client.get(f"{API}?of=node:gpu-01").json()["environment"] == NEW


def test_bad_sides_name_their_field(nodes, web, engineer, api, make_token, project):
    client = api(make_token(engineer, project, ["read"])[0])
    wrong = {}
    for side, status in {
        "": 422,
        "gpu-01": 422,
        "node:": 422,
        "node:gpu-01@yesterday": 422,
        "node:gpu-01@2020-13-45": 422,
        "node:gpu-01@2020-01-01": 404,
        "node:gpu-09": 404,
        "run:none": 404,
    }.items():
        answer = client.get(f"{API}/diff", {"left": "node:gpu-01", "right": side})
        if (answer.status_code, answer.json()["error"]["field"]) != (status, "right"):
            wrong[side] = answer.json()
    assert wrong == {}
    answer = web(engineer).get(PAGE, {"left": "node:gpu-09", "right": "node:gpu-01"})
    assert answer.status_code == 404
    assert "gpu-09" in answer.content.decode()


def test_plane_without_reports_says_what_to_do(web, engineer):
    assert "Start a worker" in web(engineer).get(PAGE).content.decode()

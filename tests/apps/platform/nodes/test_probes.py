"""Probes: requested by an administrator or a schedule, run by the node's worker, its report the node's health."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Invalid, Refused, StaleState
from apps.platform.audit.models import AuditRecord
from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.calendars.services import create_schedule, fire_due_schedules
from apps.platform.nodes.models import Node, NodeHealthReport
from apps.platform.nodes.probes import services
from apps.platform.nodes.probes.models import NodeProbe, Probe
from deepseek.messages import Message
from tests.apps.platform.nodes.health.conftest import build_check, build_report
from workers.measurements import doctor

pytestmark = pytest.mark.django_db
DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER)


@pytest.fixture
def probe(node, operator):
    return services.request_probe(actor=operator, nodes=["gpu-01"])


@pytest.fixture
def runner(worker_actor, node, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.connection, "close", lambda: None)
    return doctor.DoctorProbe(actor=worker_actor, node=node, folder=tmp_path)


def test_the_real_doctor_reports(probe, worker_actor, runner, node, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    monkeypatch.setattr(doctor, "run_doctor", partial(doctor.run_doctor, checks=("cpu", "svc")))  # all take seconds
    assert "DATABASE_URL" not in doctor.build_environment()
    row = services.start_node_probe(actor=worker_actor, node=node, is_idle=False)
    runner.probe(row)
    row.refresh_from_db()
    assert (row.state, row.cause) == ("succeeded", {})
    checks = {check["id"]: check for check in row.report.checks}
    assert "registered with 16" in checks["cpu.count"]["why"]  # it has how the plane knows the node


def test_a_failed_required_check_closes_the_node_and_one_not_looked_at_opens_none(probe, worker_actor, node):
    Node.objects.update(failed_checks=["svc.database"])
    row = services.start_node_probe(actor=worker_actor, node=node, is_idle=True)
    report = build_report(build_check(), build_check("svc.database", "not_applicable"))
    services.finish_node_probe(actor=worker_actor, row=row, document=report)
    node.refresh_from_db()
    assert node.failed_checks == ["gpu.xid", "svc.database"]
    assert AuditRecord.objects.filter(action="nodeprobe.succeeded").count() == 1


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit(2)", "ended with 2"),
        ("print(1)", "no report"),
        ("print('{\"checks\": [{}]}')", "no report"),
        ("import time; time.sleep(9)", "had not"),
    ],
)
def test_a_doctor_that_fails_says_why(probe, runner, worker_actor, node, monkeypatch, tmp_path, script, reason):
    (tmp_path / "deepseek").mkdir()
    (tmp_path / "deepseek" / "__init__.py").touch()
    (tmp_path / "deepseek" / "doctor.py").write_text(script)
    monkeypatch.setattr(doctor, "build_environment", lambda: {"PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(doctor, "LIMIT_SECONDS", {1: 0.5 if "sleep" in script else 60})
    row = services.start_node_probe(actor=worker_actor, node=node, is_idle=True)
    runner.probe(row)
    row.refresh_from_db()
    assert row.state == "failed"
    assert reason in row.cause["message"]


def test_a_worker_that_is_killed_leaves_it_to_the_dispatcher(probe, worker_actor, node):
    row = services.start_node_probe(actor=worker_actor, node=node, is_idle=True)
    assert services.start_node_probe(actor=worker_actor, node=node, is_idle=True) is None
    assert services.expire_node_probes(actor=DISPATCHER) == 0
    NodeProbe.objects.update(started_at=timezone.now() - timedelta(minutes=16))
    assert services.expire_node_probes(actor=DISPATCHER) == 1
    with pytest.raises(StaleState):
        services.finish_node_probe(actor=worker_actor, row=row, document=build_report())
    assert not NodeHealthReport.objects.exists()


def test_nobody_takes_it_and_old_ones_are_removed(probe):
    Probe.objects.update(requested_at=timezone.now() - timedelta(minutes=61))
    assert services.expire_node_probes(actor=DISPATCHER) == 1
    assert "within an hour" in NodeProbe.objects.get().cause["message"]
    Probe.objects.update(requested_at=timezone.now() - timedelta(days=91))
    services.expire_node_probes(actor=DISPATCHER)
    assert not Probe.objects.exists()


def test_the_second_level_waits_for_an_idle_node(node, operator, worker_actor):
    services.request_probe(actor=operator, level=2)
    assert services.start_node_probe(actor=worker_actor, node=node, is_idle=False) is None
    assert services.start_node_probe(actor=worker_actor, node=node, is_idle=True) is not None


def test_what_is_no_request(node, operator, actor_for, engineer, heard_of):
    cells = {"nodes/0": {"nodes": ["nowhere"]}, "level": {"level": 3}, "nodes": {"nodes": ["gpu-01"] * 501}}
    for field, wrong in cells.items():
        with pytest.raises(Invalid) as refusal:
            services.request_probe(actor=operator, **wrong)
        assert refusal.value.field == field
    with pytest.raises(Refused):
        services.request_probe(actor=actor_for(engineer))
    heard_of(node, 60)
    with pytest.raises(Conflict):
        services.request_probe(actor=operator)
    first = services.request_probe(actor=operator, nodes=["gpu-01"], key="k")
    assert services.request_probe(actor=operator, nodes=["gpu-01"], key="k") == first


def test_a_schedule_of_the_plane_requests_it(node, actor_for, sysadmin, web):
    fields = {"name": "daily", "target": "probe", "cron": "@daily"}
    actor = actor_for(sysadmin)
    for field, request in {
        "/request/nodes": {"nodes": "all"},
        "/request/x": {"x": 1},
        "/request/level": {"level": 9},
    }.items():
        with pytest.raises(Invalid) as refusal:
            create_schedule(actor=actor, project=None, request=request, **fields)
        assert refusal.value.field == field
    schedule = create_schedule(actor=actor, project=None, request={}, **fields)
    Schedule.objects.update(next_at=timezone.now() - timedelta(minutes=1))
    fire_due_schedules(actor=DISPATCHER)
    row = Occurrence.objects.get()
    assert (row.outcome, row.subject_id) == ("submitted", str(Probe.objects.get().pk))
    client = web(sysadmin)
    assert f'href="/probes/{row.subject_id}"' in client.get(f"/schedules/{schedule.pk}").content.decode()
    form = client.get(f"/schedules/new?target=probe&from={row.subject_id}").content.decode()
    assert "gpu-01" in form


def test_pages_and_rest(node, web, sysadmin, viewer, worker_actor):
    client = web(sysadmin)
    assert client.post("/nodes/gpu-01/probe")["Location"] == "/nodes/gpu-01/health"
    row = services.start_node_probe(actor=worker_actor, node=node, is_idle=True)
    services.fail_node_probe(actor=worker_actor, row=row, message=Message("The doctor printed no report."))
    page = f"/probes/{row.probe_id}"
    for text in (client.get(page).content.decode(), client.get("/nodes/gpu-01/health").content.decode()):
        assert "The doctor printed no report." in text
    made = client.post("/api/v1/probes", '{"nodes": ["gpu-01"]}', content_type="application/json")
    assert (made.status_code, made.json()["nodes"][0]["state"]) == (201, "requested")
    assert client.post("/api/v1/probes", '{"level": 7}', content_type="application/json").status_code == 422
    assert [row["id"] for row in client.get("/api/v1/probes").json()["items"]] == [made.json()["id"], row.probe_id]
    reader = web(viewer)
    assert reader.get(f"/api/v1/probes/{row.probe_id}").json()["nodes"][0]["reason"] == "The doctor printed no report."
    answers = [
        reader.get(page),
        reader.post("/nodes/gpu-01/probe"),
        reader.post("/api/v1/probes"),
        reader.get("/probes/9"),
    ]
    assert [answer.status_code for answer in answers] == [200, 403, 403, 404]

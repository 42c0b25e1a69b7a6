import pytest

from apps.core.errors import Refused, Unauthenticated
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.health import services
from apps.platform.nodes.health.services import delete_expired_reports, find_failed_checks, record_health_report
from apps.platform.nodes.models import Node, NodeHealthReport
from tests.apps.platform.nodes.health.conftest import build_check, build_report

pytestmark = pytest.mark.django_db


def record(actor, *checks, **columns):
    report = build_report(*checks, **columns)
    report.pop("format")
    return record_health_report(actor=actor, name="gpu-01", **report)


def test_a_failed_required_check_closes_the_node_until_it_passes(node_actor, node):
    record(node_actor)
    node.refresh_from_db()
    assert node.failed_checks == ["gpu.xid"]
    record(node_actor, build_check(verdict="ok"))
    node.refresh_from_db()
    assert node.failed_checks == []
    bodies = [row.body for row in AuditRecord.objects.filter(action="node.report_health").order_by("id")]
    assert len(bodies) == 2
    assert '"failed_checks":["gpu.xid"]' in bodies[0]


def test_the_same_again_is_kept_and_not_recorded_in_the_trail(node_actor):
    record(node_actor)
    record(node_actor)
    assert NodeHealthReport.objects.count() == 2
    assert AuditRecord.objects.filter(action="node.report_health").count() == 1


CELLS = [
    ([], build_check(verdict="fail", required=False), []),
    ([], build_check(verdict="warn"), []),
    (["gpu.xid"], build_check(verdict="warn"), []),
    (["gpu.xid"], build_check(verdict="unknown"), ["gpu.xid"]),
    (["gpu.xid"], build_check("cpu.count", "ok"), ["gpu.xid"]),
    (["gpu.memtest"], build_check("gpu.memtest", "not_applicable", level=3), ["gpu.memtest"]),
    (["gpu.xid"], build_check(verdict="not_applicable"), []),
]


def test_what_a_report_has_not_measured_stays_as_it_was():
    wrong = [(cell, found) for cell in CELLS if (found := find_failed_checks(cell[0], [cell[1]], 1)) != cell[2]]
    assert not wrong


def test_nobody_but_the_node_itself_reports(actor_for, sysadmin, operator, worker_actor, node_actor, other_node):
    for actor in (actor_for(sysadmin), operator, worker_actor):
        with pytest.raises(Refused):
            record(actor)
    with pytest.raises(Refused) as refusal:
        record_health_report(actor=node_actor, name="gpu-02", level=1, seconds=1, software="", checks=[build_check()])
    assert refusal.value.code == "node_token_other"
    assert not NodeHealthReport.objects.exists()
    assert not Node.objects.exclude(failed_checks=[]).exists()


def test_reports_are_kept_for_a_time_and_a_number_and_the_newest_always(node_actor, dispatcher, monkeypatch):
    monkeypatch.setattr(services, "MAX_REPORTS", 3)
    for _ in range(5):
        record(node_actor)
    assert NodeHealthReport.objects.count() == 3
    NodeHealthReport.objects.update(at="2020-01-01T00:00:00Z")
    assert delete_expired_reports(actor=dispatcher) == 2
    assert delete_expired_reports(actor=dispatcher) == 0
    with pytest.raises(Refused):
        delete_expired_reports(actor=node_actor)


def test_a_node_may_do_nothing_else(node_actor):
    from apps.core.policy import ACTIONS, is_allowed

    allowed = {action for action in ACTIONS if is_allowed(node_actor, action)}
    of_doctor = {"node.report_health", "node.read_registration", "node.view_plane_health"}
    assert allowed == of_doctor | {"isolation.read_policy", "isolation.report"}


def test_anonymous_is_asked_to_log_in():
    from apps.core.actors import ANONYMOUS

    with pytest.raises(Unauthenticated):
        record(ANONYMOUS)

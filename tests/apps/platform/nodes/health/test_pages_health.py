import pytest

from apps.platform.nodes.health.services import record_health_report
from tests.apps.platform.nodes.health.conftest import build_check, build_report

pytestmark = pytest.mark.django_db
PAGE = "/nodes/gpu-01/health"


def text_of(answer) -> str:
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


@pytest.fixture
def report(node_actor):
    def record(*checks):
        body = build_report(*checks)
        body.pop("format")
        return record_health_report(actor=node_actor, name="gpu-01", **body)

    return record


def test_the_page_names_failed_checks_first_with_their_remedy(web, viewer, report):
    report(build_check("cpu.count", "ok"), build_check("mem.oom", "warn", why="3 kills."), build_check())
    page = text_of(web(viewer).get(PAGE))
    assert page.index("gpu.xid</code>") < page.index("mem.oom</code>") < page.index("cpu.count</code>")
    assert "Reseat the card." in page
    assert "keeps jobs away" in page
    assert "Failed required checks: gpu.xid." in page
    overview = text_of(web(viewer).get("/nodes/gpu-01"))
    assert "Required checks of its doctor failed: gpu.xid." in overview
    listed = text_of(web(viewer).get("/nodes"))
    assert 'title="gpu.xid"' in listed
    assert "<b>0 of 1 node</b> ready for jobs, <b>1 with failed checks</b>" in listed


def test_the_trend_is_drawn_from_the_second_report_on(web, viewer, report):
    report()
    assert "Problems over time" not in text_of(web(viewer).get(PAGE))
    report(build_check(verdict="ok"))
    page = text_of(web(viewer).get(PAGE))
    assert "Problems over time" in page
    assert "takes no new jobs" not in page


def test_without_a_report_the_page_says_how_to_send_one(web, viewer, node):
    page = text_of(web(viewer).get(PAGE))
    assert "No report of this node's doctor has come yet." in page
    assert "deepseek-doctor --send --node gpu-01 --plane http://testserver" in page
    assert "Issue a token" not in page


def test_a_system_administrator_issues_the_token_and_sees_it_once(web, sysadmin, node):
    client = web(sysadmin)
    assert "export DEEPSEEK_TOKEN=dsn_" in text_of(client.post("/nodes/gpu-01/token"))
    page = text_of(client.get(PAGE))
    assert "export DEEPSEEK_TOKEN=" not in page
    assert "Replace the token" in page


def test_others_may_not_issue_one(web, engineer, node):
    assert web(engineer).post("/nodes/gpu-01/token").status_code == 403
    assert web(engineer).get("/nodes/gpu-01/token").status_code == 405

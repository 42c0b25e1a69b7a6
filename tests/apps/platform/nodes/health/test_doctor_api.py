"""What a doctor sends and asks with its node's token."""

import json

import pytest

from apps.platform.nodes.models import NodeHealthReport
from tests.apps.platform.nodes.health.conftest import build_check, build_report

pytestmark = pytest.mark.django_db
URL = "/api/v1/doctor"


def test_a_report_is_kept_and_answered_with_what_keeps_jobs_away(api, node_secret, viewer):
    answer = api(node_secret).post(f"{URL}/nodes/gpu-01/reports", build_report())
    assert answer.status_code == 201, answer.json()
    assert answer.json()["blocking"] == ["gpu.xid"]
    health = api(viewer).get("/api/v1/nodes/gpu-01/health").json()
    assert health["failed_checks"] == ["gpu.xid"]
    assert health["report"]["checks"][0]["remedy"] == "Reseat the card."
    assert [row["counts"]["fail"] for row in health["trend"]] == [1]
    assert api(viewer).get("/api/v1/nodes/gpu-01").json()["failed_checks"] == ["gpu.xid"]


def test_a_node_without_a_report_has_an_empty_answer(api, viewer, node):
    health = api(viewer).get("/api/v1/nodes/gpu-01/health").json()
    assert (health["report"], health["trend"]) == (None, [])


REPORT = build_report()
FAULTS = {
    "no format": {**REPORT, "format": "other"},
    "no checks": {**REPORT, "checks": []},
    "checks of no list": {**REPORT, "checks": 7},
    "a check of no object": {**REPORT, "checks": ["x"]},
    "an id of nonsense": {**REPORT, "checks": [build_check("<script>")]},
    "a verdict that there is not": {**REPORT, "checks": [build_check(verdict="great")]},
    "the same check twice": {**REPORT, "checks": [build_check(), build_check()]},
    "a level that there is not": {**REPORT, "level": 9},
    "too many checks": {**REPORT, "checks": [build_check(f"a.b{n}") for n in range(501)]},
    "a long text": {**REPORT, "checks": [build_check(why="x" * 601)]},
    "endless seconds": {**REPORT, "seconds": 1e300},
    "a list": [],
    "null": None,
}


def test_garbage_is_refused_with_its_field_named(api, node_secret):
    client, wrong = api(node_secret), {}
    for name, body in FAULTS.items():
        answer = client.post(f"{URL}/nodes/gpu-01/reports", json.dumps(body), content_type="application/json")
        if answer.status_code not in (400, 422) or "error" not in answer.json():
            wrong[name] = (answer.status_code, answer.content[:200])
    broken = client.post(f"{URL}/nodes/gpu-01/reports", "{not json", content_type="application/json")
    assert broken.status_code == 400
    assert not wrong
    assert not NodeHealthReport.objects.exists()


def test_other_tokens_and_other_nodes_are_refused(api, node_secret, viewer, sysadmin, other_node):
    for secret in ("dsn_" + "x" * 43, "dso_unknown", "nonsense"):
        assert api(secret).post(f"{URL}/nodes/gpu-01/reports", build_report()).status_code == 401
    assert api(viewer).post(f"{URL}/nodes/gpu-01/reports", build_report()).status_code == 401
    answer = api(node_secret).post(f"{URL}/nodes/gpu-02/reports", build_report())
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "node_token_other")
    assert api(node_secret).get(f"{URL}/nodes/gpu-02/registration").status_code == 403
    assert api(node_secret).get("/api/v1/nodes/gpu-01").status_code == 401  # it opens nothing else
    assert not NodeHealthReport.objects.exists()


def test_a_new_token_makes_the_one_before_worthless(api, node_secret, operator, node):
    from apps.platform.nodes.health.services import issue_node_token

    issue_node_token(actor=operator, node=node)
    assert api(node_secret).get(f"{URL}/plane-health").status_code == 401


def test_the_registration_and_the_health_of_the_plane_are_told_to_the_node(api, node_secret):
    registration = api(node_secret).get(f"{URL}/nodes/gpu-01/registration").json()
    assert (registration["cpus"], registration["conflicts"]) == (16, [])
    health = api(node_secret).get(f"{URL}/plane-health").json()
    assert health["database"]["pending_migrations"] == []
    assert health["database"]["vendor"] in ("sqlite", "postgresql")
    assert health["backup"] == {"made_at": None, "drilled_at": None}
    assert set(health["audit"]) == {"is_verified", "verified_at", "seal_lag_seconds"}

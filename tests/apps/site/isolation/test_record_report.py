import json
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.core.actors import Actor, PlaneRole
from apps.core.errors import Refused
from apps.platform.nodes.models import Node
from apps.site.isolation.models import ProbeReport
from apps.site.isolation.queries import get_proof
from apps.site.isolation.services import RETENTION, delete_expired_reports, record_report, set_policy

pytestmark = pytest.mark.django_db
REPORTS = "gpu-01/isolation-reports"


def test_a_node_fetches_the_policy_and_proves_it(node_client, build_report, actor_for, secadmin, auditor):
    assert node_client("get", "gpu-01/isolation-policy").status_code == 404
    version = set_policy(actor=actor_for(secadmin), document={"networks": ["10.0.0.0/24"]}, reason="a start")
    answer = node_client("get", "gpu-01/isolation-policy").json()
    assert (answer["number"], answer["policy"]["networks"]) == (1, ["10.0.0.0/24"])
    sent = node_client("post", REPORTS, build_report("refused", "refused", digest=version.digest))
    assert (sent.status_code, sent.json()["verdict"]) == (201, "refused")
    proof = get_proof(actor_for(auditor))
    assert (proof.status, proof.nodes[0].has_policy) == ("refused", True)


def test_the_lamp_follows_the_last_report_of_every_node(node_client, build_report, actor_for, sysadmin):
    def status():
        return get_proof(actor_for(sysadmin)).status

    assert status() == "never"
    node_client("post", REPORTS, build_report("refused", "passed"))
    assert status() == "passed"
    node_client("post", REPORTS, build_report("refused", "unknown"))
    assert status() == "unknown"
    node_client("post", REPORTS, build_report("refused"))
    assert status() == "refused"
    ProbeReport.objects.update(at=Now() - timedelta(hours=27))
    assert status() == "stale"
    Node.objects.create(name="gpu-02", host="b")
    assert status() == "never"


def test_bad_reports_are_refused(node_client, build_report):
    good = build_report("refused")
    cases = {
        "no results": {**good, "results": []},
        "too many": {**good, "results": good["results"] * 101},
        "verdict": {**good, "results": [{**good["results"][0], "verdict": "fine"}]},
        "port": {**good, "results": [{**good["results"][0], "port": 65536}]},
        "digest": {**good, "policy_digest": "abc"},
        "format": {**good, "format": 2},
    }
    answers = {name: node_client("post", REPORTS, json.dumps(body)).status_code for name, body in cases.items()}
    assert answers == dict.fromkeys(cases, 422)
    assert node_client("post", "gpu-02/isolation-reports", good).status_code == 404
    assert node_client("post", REPORTS, good, token="dsn_wrong").status_code == 401
    assert not ProbeReport.objects.exists()


def test_nobody_else_reports(actor_for, sysadmin, engineer, build_report):
    for person in sysadmin, engineer:
        with pytest.raises(Refused):
            record_report(actor=actor_for(person), name="gpu-01", report=build_report("refused"))


def test_old_reports_go_but_the_newest_of_each_node(node_client, build_report):
    for _ in range(3):
        node_client("post", REPORTS, build_report("refused"))
    ProbeReport.objects.update(at=Now() - RETENTION - timedelta(days=1))
    dispatcher = Actor(kind="plane", label="dispatcher", plane_role=PlaneRole.DISPATCHER)
    assert delete_expired_reports(actor=dispatcher) == 2
    assert delete_expired_reports(actor=dispatcher) == 0
    assert ProbeReport.objects.count() == 1

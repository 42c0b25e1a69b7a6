"""POST jobs/estimate: what a job would need and where it would fit; nothing is queued."""

from __future__ import annotations

import pytest

from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db
BODY = {"kind": "train", "spec": {"task": "regression", "target": "y", "hidden": [4096, 4096]}}


@pytest.fixture
def ask(api, engineer, url):
    return lambda body=BODY, who=engineer: api(who).post(url("/estimate"), body, format="json")


def test_tells_the_parts_and_each_node(ask, node, add_node):
    add_node("small", memory_bytes=2**28)
    told = ask().json()
    host = told["estimate"]["host"]
    assert host["total"] == sum(size for name, size in host.items() if name != "total")
    assert [(row["node"], row["fits"]) for row in told["nodes"]] == [("n1", True), ("small", False)]
    assert told["nodes"][1]["missing_bytes"] == host["total"] - 2**28
    assert (told["can_run"], told["needs"]["memory_bytes"], told["warnings"]) == (True, 2**31, [])
    assert not Job.objects.exists()


def test_tells_what_would_fit_where_nothing_does(ask, node):
    Node.objects.update(memory_bytes=2_000 * 10**6)
    spec = {**BODY["spec"], "hidden": [8192], "schedule": {"first_batch": 32_768, "last_batch": 32_768}}
    told = ask({**BODY, "spec": spec}).json()
    assert told["can_run"] is False
    assert [row["change"] for row in told["remedies"]] == ["micro_batch 8192", "schedule.last_batch 8192"]


def test_warns_of_less_memory_than_it_will_take(ask):
    told = ask({**BODY, "needs": {"memory_bytes": 2**28}}).json()
    assert "may be stopped at its limit" in told["warnings"][0]


def test_a_kind_that_does_not_train_has_no_estimate(ask):
    told = ask({"kind": "noop", "spec": {}}).json()
    assert (told["estimate"], told["nodes"], told["can_run"]) == (None, [], True)


def test_refuses_a_bad_spec_an_unknown_artifact_and_who_may_not(ask, viewer):
    assert ask({"kind": "train", "spec": {}}).json()["error"]["field"] == "/spec/task"
    inputs = {"table": {"digest": "f" * 64}}
    assert ask({**BODY, "inputs": inputs}).json()["error"]["code"] == "artifact_not_found"
    assert ask(who=viewer).status_code == 403

import json

import pytest

from apps.ml.endpoints.models import Replica
from apps.ml.endpoints.states import ReplicaState
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_the_endpoint_follows_its_alias_by_approval(node, version, registered, approved, create, report, follow):
    endpoint = create()
    assert follow(endpoint).state == "starting"
    report(endpoint, figures={"rate": 2.0})
    assert follow(endpoint).state == "serving"
    second = registered()
    approval = approved(second)
    assert (follow(endpoint).version, endpoint.approval_id) == (second, approval.pk)
    assert AuditRecord.objects.filter(action="endpoint.follow").count() == 1
    report(endpoint, version=second)
    serve = AuditRecord.objects.filter(action="endpoint.serve").latest("pk")
    after = json.loads(serve.body)["after"]
    assert (after["version"], after["approval"]) == (second.number, approval.pk)
    assert (follow(endpoint).state, endpoint.replicas.get().version) == ("serving", second)


def test_a_refused_version_is_named_and_the_old_one_stays(node, version, registered, approved, create, report, follow):
    endpoint = create()
    report(endpoint)
    follow(endpoint)
    approved(registered())
    follow(endpoint)
    report(endpoint, version=version, error="/features/1: a feature more")
    assert follow(endpoint).state == "degraded"
    assert "/features/1: a feature more" in endpoint.state_reason["message"]
    assert endpoint.replicas.get().version == version
    report(endpoint, version=endpoint.version)
    assert (follow(endpoint).state, endpoint.state_reason) == ("serving", {})


def test_a_node_that_reports_nothing_degrades_it(node, version, create, report, follow):
    endpoint = create()
    report(endpoint)
    follow(endpoint)
    Replica.objects.update(last_seen="2020-01-01T00:00:00Z")
    assert follow(endpoint).state == "degraded"
    report(endpoint, state=ReplicaState.STARTING)
    assert follow(endpoint).state == "degraded"  # it is not back yet
    report(endpoint)
    assert follow(endpoint).state == "serving"

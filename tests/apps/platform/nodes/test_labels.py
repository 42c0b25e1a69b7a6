import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.labels import list_satisfied_requests, parse_requested_labels
from apps.platform.nodes.services import set_labels

pytestmark = pytest.mark.django_db


def test_labels_are_sorted_and_recorded(actor_for, sysadmin, node):
    labelled = set_labels(actor=actor_for(sysadmin), node=node, labels="rack=3, nvme,nvme")
    assert labelled.labels == ["nvme", "rack=3"]
    assert '"labels":["nvme","rack=3"]' in AuditRecord.objects.get(action="node.set_labels").body
    with pytest.raises(Conflict):
        set_labels(actor=actor_for(sysadmin), node=node, labels="nvme,rack=3")
    assert set_labels(actor=actor_for(sysadmin), node=node, labels="").labels == []


def test_bad_labels_are_refused(operator, node):
    wrong = {}
    for text in ("rack 3=4=5", "a" * 31, "-x", "x=", ",".join(f"l{n}" for n in range(9))):
        with pytest.raises(Invalid) as caught:
            set_labels(actor=operator, node=node, labels=text)
        if caught.value.field != "labels" or not caught.value.limit:
            wrong[text] = caught.value
    assert wrong == {}


def test_takes_a_system_administrator(actor_for, engineer, auditor, node):
    for person in engineer, auditor:
        with pytest.raises(Refused):
            set_labels(actor=actor_for(person), node=node, labels="nvme")


def test_a_node_satisfies_every_request_of_its_labels():
    requests = list_satisfied_requests([f"l{n}" for n in range(8)])
    assert len(requests) == len(set(requests)) == 93
    assert parse_requested_labels("l7, l0,l3") in requests
    assert list_satisfied_requests([]) == [""]


def test_an_administrator_sets_them_on_the_page(web, sysadmin, engineer, node):
    page = f"/nodes/{node.name}/hardware"
    assert web(sysadmin).post(f"/nodes/{node.name}/labels", {"labels": "nvme, rack=3"}).status_code == 302
    assert b"nvme, rack=3" in web(engineer).get(page).content
    assert b"Set labels" not in web(engineer).get(page).content
    assert web(engineer).post(f"/nodes/{node.name}/labels", {"labels": "x"}).status_code == 403

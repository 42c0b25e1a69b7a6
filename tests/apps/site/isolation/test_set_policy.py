import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.audit.models import AuditRecord
from apps.site.isolation.models import PolicyVersion
from apps.site.isolation.queries import render_policy
from apps.site.isolation.services import set_policy

pytestmark = pytest.mark.django_db
POLICY = {"networks": ["192.168.1.0/24"], "names": ["plane.internal"]}


def test_versions_are_kept_and_recorded(actor_for, secadmin):
    actor = actor_for(secadmin)
    first = set_policy(actor=actor, document=POLICY, reason=" a start ")
    second = set_policy(actor=actor, document={**POLICY, "forwarded": True}, reason="containers")
    assert [(each.number, each.reason) for each in (first, second)] == [(1, "a start"), (2, "containers")]
    assert PolicyVersion.objects.count() == 2
    record = AuditRecord.objects.filter(action="isolation.set_policy").order_by("-id").first()
    assert '"forwarded":true' in record.body
    assert second.digest in record.body


def test_the_rules_of_the_text_come_first(actor_for, secadmin):
    version = set_policy(actor=actor_for(secadmin), document=POLICY, reason="a start")
    rules = render_policy(version.document)["iptables"].splitlines()
    assert rules[0] == "# plane.internal: every node looks its addresses up when it applies the policy"
    assert rules[1:4] == [
        "iptables -P OUTPUT DROP",
        "iptables -A OUTPUT -d 127.0.0.1 -j ACCEPT",
        "iptables -A OUTPUT -d 192.168.1.0/24 -j ACCEPT",
    ]


def test_the_same_again_is_a_conflict(actor_for, secadmin):
    set_policy(actor=actor_for(secadmin), document=POLICY, reason="a start")
    with pytest.raises(Conflict):
        set_policy(actor=actor_for(secadmin), document=POLICY, reason="again")


def test_bad_policies_name_their_field(actor_for, secadmin):
    cases = {
        "/policy/networks": {},  # would lock every node out
        "/policy/networks/0": {"networks": ["10.0.0.0/99"]},
        "/policy/names/0": {"names": ["a b"]},
        "/policy/ports/0/ports/0": {"ports": [{"to": "10.0.0.1", "ports": ["0"]}]},
        "/policy/network": {"network": []},
    }
    wrong = {}
    for field, document in cases.items():
        with pytest.raises(Invalid) as caught:
            set_policy(actor=actor_for(secadmin), document=document, reason="x")
        if caught.value.field != field:
            wrong[field] = caught.value.field
    assert wrong == {}
    assert not PolicyVersion.objects.exists()


def test_takes_a_security_administrator(request, actor_for):
    for name in "engineer", "approver", "auditor", "sysadmin":
        with pytest.raises(Refused):
            set_policy(actor=actor_for(request.getfixturevalue(name)), document=POLICY, reason="x")

import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.approvals.models import ApprovalPolicy
from apps.platform.approvals.services import set_approval_policy
from apps.platform.approvals.terms import DEFAULT_TERMS, Terms, get_terms
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def set_policy(project, secadmin, actor_for):
    def changed(by=None, **changes):
        about = {"project": project, "subject_type": "thing", "needed": 2, "deadline_hours": 24, "reason": "Four eyes."}
        return set_approval_policy(actor=by or actor_for(secadmin), **about | changes)

    return changed


def test_it_counts_for_requests_from_then_on(set_policy, ask, project, second):
    before = ask(subject_id=1)
    assert get_terms(project, "thing") == DEFAULT_TERMS
    set_policy()
    assert get_terms(project, "thing") == Terms(2, 24)
    before.refresh_from_db()
    assert (before.needed, ask(subject_id=2).needed) == (1, 2)


def test_it_is_recorded_with_what_was_before(set_policy):
    set_policy()
    set_policy(needed=3)
    assert ApprovalPolicy.objects.count() == 1
    bodies = AuditRecord.objects.filter(action="approval.set_policy").order_by("pk").values_list("body", flat=True)
    assert '"before":{"deadline_hours":72,"needed":1}' in bodies[0]
    assert '"before":{"deadline_hours":24,"needed":2}' in bodies[1]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"needed": 0}, "/needed"),
        ({"needed": 11}, "/needed"),
        ({"deadline_hours": 0}, "/deadline_hours"),
        ({"deadline_hours": 721}, "/deadline_hours"),
        ({"subject_type": "nothing"}, "/subject_type"),
    ],
)
def test_what_is_outside_its_limits_is_named(set_policy, changes, field):
    with pytest.raises(Invalid) as refusal:
        set_policy(**changes)
    assert refusal.value.field == field


def test_nothing_to_change_is_said(set_policy):
    set_policy()
    with pytest.raises(Conflict) as refusal:
        set_policy()
    assert refusal.value.code == "nothing_to_change"


def test_only_the_security_administrator_does(set_policy, approver, engineer, sysadmin, actor_for):
    for user in (approver, engineer, sysadmin):
        with pytest.raises(Refused):
            set_policy(by=actor_for(user))

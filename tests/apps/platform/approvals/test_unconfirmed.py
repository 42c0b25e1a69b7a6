"""An approver whose credentials an administrator has set: no vote, and the page says why."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.accounts import services as accounts
from apps.platform.accounts.models import User
from apps.platform.approvals import queries
from apps.platform.approvals.models import Approval


@pytest.fixture
def reset(sysadmin, approver, actor_for, password):
    """reset(): the system administrator resets the approver's password, and uses it."""

    def done() -> User:
        accounts.reset_password(actor=actor_for(sysadmin), user=approver)
        user = User.objects.get(pk=approver.pk)
        user.set_password(password)
        user.must_change_password = False
        user.save()
        return user

    return done


def test_no_vote_by_session_or_token(ask, reset, second, make_token, api, web, password):
    approval, _ = ask(), second
    at = f"/api/v1/projects/demo/approvals/{approval.pk}"
    approver = reset()
    vote = {"facts_digest": approval.facts_digest, "reason": "Fine."}
    answers = [api(make_token(approver)[0]).post(f"{at}/{what}", vote, format="json") for what in ("approve", "reject")]
    by_session = {**vote, "password": password}
    answers.append(web(approver).post(f"{at}/approve", by_session, content_type="application/json"))
    answers.append(web(approver).post(f"/p/demo/approvals/{approval.pk}/decide", {**by_session, "decision": "approve"}))
    assert [answer.status_code for answer in answers] == [403] * 4
    assert {answer.json()["error"]["code"] for answer in answers[:3]} == {"credentials_unconfirmed"}
    assert not approval.votes.exists()


def test_the_page_says_so_and_its_buttons_are_disabled(ask, reset, second, web):
    approval, _ = ask(), second
    page = web(reset()).get(f"/p/demo/approvals/{approval.pk}").content.decode()
    assert 'data-code="credentials_unconfirmed"' in page
    assert "Your password was reset by sysadmin" in page
    assert "<fieldset" in page
    assert 'name="decision"' not in page


def test_a_vote_from_before_the_reset_counts(ask, two_needed, second, decide, approver, reset):
    approval = ask()
    decide(approver, approval)
    reset()
    decide(second, approval)
    assert Approval.objects.get(pk=approval.pk).state == "approved"


def test_nor_carries_it_out(ask, decide, approver, second, project, two_needed, reset):
    """Enough votes count again, and whoever voted may carry it out: not from a borrowed account."""
    approval = ask()
    decide(approver, approval)
    User.objects.filter(pk=approver.pk).update(is_active=False)
    approval.needed = 1
    approval.save(update_fields=["needed"])
    User.objects.filter(pk=approver.pk).update(is_active=True)
    with pytest.raises(Refused) as caught:
        decide(reset(), approval)
    assert caught.value.code == "credentials_unconfirmed"


def test_after_the_confirmation_the_vote_counts(ask, reset, secadmin, decide, second, actor_for):
    approval, _ = ask(), second
    approver = reset()
    accounts.confirm_credentials(actor=actor_for(secadmin), user=approver)
    assert decide(approver, approval).state == "approved"


def test_it_waits_for_nobody_who_may_not_decide(ask, reset, second, actor_for):
    approval, _ = ask(), second
    approver = reset()
    assert not queries.query_waiting_for(actor_for(approver)).exists()
    assert queries.query_waiting_for(actor_for(second)).exists()
    assert queries.count_possible_voters(approval) == 1


def test_too_few_approvers_are_left(ask, reset):
    reset()
    with pytest.raises(Conflict) as caught:
        ask()
    assert caught.value.code == "too_few_approvers"

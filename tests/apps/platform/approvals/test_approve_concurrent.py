"""Approvers, requesters and the dispatcher at the same instant, each on a connection of its own. Both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.platform.approvals import services
from apps.platform.approvals.models import Approval, Vote
from apps.platform.audit.models import AuditRecord
from tests.apps.platform.approvals.stand_in import carried_out

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def at_once(*acts: Callable[[], object]) -> list[str]:
    """What came of each act, all let go together: "done", or the code of its refusal."""
    ready = threading.Barrier(len(acts))

    def go(act: Callable[[], object]) -> str:
        try:
            ready.wait(timeout=60)
            act()
        except PlaneError as refusal:
            return refusal.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(future.result() for future in [pool.submit(go, act) for act in acts])


@pytest.fixture
def late_look(subject):
    """Everybody reads the facts before anybody locks the row: the race that the lock is for."""

    def wait_for(people: int) -> None:
        looked = threading.Barrier(people)
        subject.meanwhile = lambda: looked.wait(timeout=60)

    return wait_for


def test_where_one_is_needed_one_decides(ask, decide, approver, second, late_look):
    approval = ask()
    late_look(2)
    came = at_once(lambda: decide(approver, approval), lambda: decide(second, approval))
    assert came == ["already_decided", "done"]
    assert (Vote.objects.count(), carried_out()) == (1, 1)


def test_where_two_are_needed_both_count_and_it_is_carried_out_once(
    two_needed, ask, decide, approver, second, late_look
):
    approval = ask()
    late_look(2)
    assert at_once(lambda: decide(approver, approval), lambda: decide(second, approval)) == ["done", "done"]
    approval.refresh_from_db()
    assert (approval.state, Vote.objects.count(), carried_out()) == ("approved", 2, 1)
    assert AuditRecord.objects.filter(action="approval.approved").count() == 1


def test_the_same_person_twice_at_once_votes_once(two_needed, ask, decide, approver, second, late_look):
    approval = ask()
    late_look(2)
    came = at_once(lambda: decide(approver, approval), lambda: decide(approver, approval))
    assert came == ["already_voted", "done"]
    assert Vote.objects.count() == 1


def test_yes_and_no_at_once_end_it_one_way(ask, decide, approver, second):
    approval = ask()
    came = at_once(lambda: decide(approver, approval), lambda: decide(second, approval, "reject"))
    assert came == ["already_decided", "done"]
    approval.refresh_from_db()
    assert carried_out() == (approval.state == "approved")


def test_two_requests_for_one_subject_at_once_make_one(ask):
    assert at_once(ask, ask) == ["approval_pending", "done"]
    assert Approval.objects.count() == 1


def test_several_dispatchers_expire_once(ask):
    ask()
    Approval.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    actor = build_plane_actor(PlaneRole.DISPATCHER)
    assert at_once(*[lambda: services.expire_due(actor=actor)] * 3) == ["done"] * 3
    assert AuditRecord.objects.filter(action="approval.expired").count() == 1

"""A verification that is asked for: what is new at once, the whole by the dispatcher, who tells how far it is."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.audit import verification, verification_runs
from apps.platform.audit.models import AuditRecord, VerificationRun
from apps.platform.audit.queries import get_last_verification
from apps.platform.audit.sealer import seal_all
from apps.platform.audit.verification_runs import request_verification, run_queued_verification

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def by(auditor):
    return build_actor_for_user(auditor)


def test_the_first_one_walks_everything_and_says_who_asked(chain, by, dispatcher):
    run, recent = request_verification(actor=by)
    assert (run.state, recent) == ("queued", None)
    done = run_queued_verification(dispatcher)
    assert (done.state, done.walked, done.whole) == ("succeeded", 10, True)
    found = get_last_verification()
    assert (found.whole, found.by, found.seq) == (True, "auditor", 10)
    assert AuditRecord.objects.filter(action="audit.request_verification").count() == 1


def test_the_next_one_verifies_at_once_what_is_new(chain, write, by, dispatcher):
    request_verification(actor=by)
    run_queued_verification(dispatcher)
    write(5)
    seal_all()
    newest = AuditRecord.objects.order_by("-seq").first().seq
    _run, recent = request_verification(actor=by)
    assert (recent.whole, recent.sealed) == (True, newest)
    assert AuditRecord.objects.filter(action="audit.verify_recent").count() == 1
    assert get_last_verification().seq == newest


def test_a_break_in_what_is_new_is_one_of_the_trail(chain, write, by, dispatcher, owner):
    request_verification(actor=by)
    run_queued_verification(dispatcher)
    write(5)
    seal_all()
    newest = AuditRecord.objects.order_by("-seq").first()
    owner(f"UPDATE audit_auditrecord SET body = '{{}}' WHERE seq = {newest.seq}")
    _run, recent = request_verification(actor=by)
    assert recent.finding.seq == newest.seq
    assert AuditRecord.objects.filter(action="audit.verify", result="failed").count() == 1
    assert not get_last_verification().whole


def test_after_a_break_nothing_is_taken_on_trust(chain, by, dispatcher, owner):
    owner("DELETE FROM audit_auditrecord WHERE seq = 4")
    request_verification(actor=by)
    assert run_queued_verification(dispatcher).state == "failed"
    assert request_verification(actor=by)[1] is None


def test_what_is_verified_while_somebody_waits_is_limited(chain, write, by, dispatcher, monkeypatch):
    request_verification(actor=by)
    run_queued_verification(dispatcher)
    write(9)
    seal_all()
    monkeypatch.setattr(verification, "RECENT", 3)
    assert request_verification(actor=by)[1].sealed == 13


def test_an_open_one_is_joined(chain, by):
    first, _ = request_verification(actor=by)
    second, _ = request_verification(actor=by)
    assert first == second
    assert VerificationRun.objects.count() == 1


def test_only_who_may(chain, somebody):
    with pytest.raises(Refused):
        request_verification(actor=somebody)
    assert not VerificationRun.objects.exists()


def test_nothing_to_do(chain, dispatcher):
    assert run_queued_verification(dispatcher) is None


def test_a_dispatcher_that_stops_leaves_it_to_the_next(chain, by, dispatcher):
    request_verification(actor=by)
    assert run_queued_verification(dispatcher, stopping=lambda: True) is None
    assert VerificationRun.objects.get().state == "queued"
    assert run_queued_verification(dispatcher).state == "succeeded"


def test_one_that_is_walked_is_left_alone_until_it_is_lost(chain, by, dispatcher):
    request_verification(actor=by)
    VerificationRun.objects.update(beat_at=timezone.now(), attempt=1)
    assert run_queued_verification(dispatcher) is None
    VerificationRun.objects.update(beat_at=timezone.now() - verification_runs.LOST - timedelta(seconds=1))
    assert run_queued_verification(dispatcher).attempt == 2


def test_who_was_taken_for_lost_writes_nothing(chain, by, dispatcher, monkeypatch):
    request_verification(actor=by)
    whole = verification_runs.verify_trail

    def overtaken(**asked):
        VerificationRun.objects.update(attempt=7)
        return whole(**asked)

    monkeypatch.setattr(verification_runs, "verify_trail", overtaken)
    assert run_queued_verification(dispatcher) is None
    assert VerificationRun.objects.get().ended_at is None


def test_it_tells_how_far_it_is(chain, by, dispatcher, monkeypatch):
    monkeypatch.setattr(verification, "CHUNK", 4)
    request_verification(actor=by)
    told = []
    run_queued_verification(dispatcher, stopping=lambda: told.append(VerificationRun.objects.get().walked))
    assert told == [0, 0, 4]  # of what earlier reports wrote: 0, 4, 8

"""Production moved by two people at the same instant, each on a connection of its own. Both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from apps.core.errors import PlaneError
from apps.ml.registry.models import Alias, AliasMove
from apps.ml.registry.services import aliases as services
from apps.ml.registry.services import request_promotion, roll_back
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
def at_once(monkeypatch):
    """at_once(act, act) -> what came of each: "done" or the code of its refusal. Both read before either writes."""
    together = threading.Barrier(2)

    def reading_first(name):
        read = getattr(services, name)

        def wait(*given):
            found = read(*given)
            together.wait(timeout=60)
            return found

        monkeypatch.setattr(services, name, wait)

    def go(act):
        try:
            act()
        except PlaneError as refusal:
            return refusal.code
        finally:
            connection.close()
        return "done"

    def run(*acts, after=""):
        if after:
            reading_first(after)
        with ThreadPoolExecutor(2) as pool:
            return sorted(future.result() for future in [pool.submit(go, act) for act in acts])

    return run


def test_two_rollbacks_go_back_one_step(at_once, registered, approved, actor_for, engineer, approver):
    for _ in range(3):
        approved(registered())
    model, people = AliasMove.objects.first().model, (actor_for(engineer), actor_for(approver))
    acts = [lambda who=who: roll_back(actor=who, model=model, reason="worse") for who in people]
    assert at_once(*acts, after="find_missing_bytes") == ["done", "stale_state"]
    assert Alias.objects.get().version.number == 2
    assert AliasMove.objects.filter(kind="rollback").count() == 1


def test_of_two_promotions_one_moves_it(at_once, registered, actor_for, engineer, approver):
    asked = [request_promotion(actor=actor_for(engineer), version=registered()) for _ in range(2)]
    proof, who = Proof(user_id=approver.pk, method="password"), actor_for(approver)

    def vote(approval):
        approve(actor=who, approval=approval, facts_digest=approval.facts_digest, reason="good", proof=proof)

    came = at_once(*(lambda one=one: vote(one) for one in asked))
    assert came.count("done") == 1
    assert set(came) <= {"done", "stale_state", "approval_void"}
    move = AliasMove.objects.get()
    assert (Alias.objects.get().version, move.from_version) == (move.to_version, None)

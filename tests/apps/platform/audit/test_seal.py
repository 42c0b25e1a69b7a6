"""Sealing: numbers without gaps, the documented formula, one lock."""

from __future__ import annotations

import hashlib

import pytest
from django.db import transaction

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.sealer import run_sealer_round, seal
from apps.platform.audit.services import record, seal_now

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_formula_is_the_documented_one(chain):
    first, second = chain[0], chain[1]
    body = hashlib.sha256(second.body.encode()).hexdigest()
    assert first.prev == "0" * 64
    assert second.prev == first.hash
    assert second.hash == hashlib.sha256(f"{first.hash}\n2\n{body}".encode()).hexdigest()


def test_numbers_follow_the_ids_and_the_head_the_last_record(chain):
    rows = list(chain)
    assert [row.seq for row in rows] == list(range(1, 11))
    assert [row.pk for row in rows] == sorted(row.pk for row in rows)
    head = ChainHead.objects.get()
    assert (head.seq, head.hash) == (10, rows[-1].hash)


def test_limit_bounds_a_batch(write, dispatcher):
    write(5)
    assert [seal(actor=dispatcher, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_late_lower_id_is_sealed_later(write, dispatcher, monkeypatch):
    late, early = write(2)  # the transaction of `late` commits after the sealer has taken `early`
    everything = AuditRecord.objects.all()
    monkeypatch.setattr(AuditRecord.objects, "filter", lambda **_: everything.filter(pk=early.pk, seq=None))
    assert run_sealer_round(dispatcher) == 1
    monkeypatch.undo()
    assert run_sealer_round(dispatcher) == 1
    late.refresh_from_db()
    early.refresh_from_db()
    assert (early.seq, late.seq, late.prev) == (1, 2, early.hash)


def test_only_the_plane_seals(write, somebody, worker_actor):
    for actor in (somebody, worker_actor):
        with pytest.raises(Refused):
            seal(actor=actor)


def test_a_rollback_leaves_no_gap(write, somebody, dispatcher):
    write(1)
    with transaction.atomic():
        record(actor=somebody, action="thing.change")
        transaction.set_rollback(True)
    write(1)
    run_sealer_round(dispatcher)
    assert list(AuditRecord.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2]


def test_seal_now_waits_for_the_commit(somebody, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        row = record(actor=somebody, action="approval.grant")
        seal_now()
        row.refresh_from_db()
        assert row.seq is None
    row.refresh_from_db()
    assert row.seq == 1


@pytest.mark.django_db(transaction=True)
def test_a_failing_seal_now_leaves_the_work_done(somebody, monkeypatch):
    monkeypatch.setattr("apps.platform.audit.sealer.write_links", lambda *_: 1 / 0)
    with transaction.atomic():
        row = record(actor=somebody, action="approval.grant")
        seal_now()
    assert AuditRecord.objects.get(pk=row.pk).seq is None


def test_operator_may_seal(write):
    write(1)
    assert seal(actor=build_plane_actor(PlaneRole.OPERATOR)) == 1

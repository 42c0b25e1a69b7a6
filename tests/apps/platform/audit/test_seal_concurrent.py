"""2,000 records from several writers while two sealers run: no gap, no double, none forgotten. Both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.services import record
from apps.platform.audit.verification import examine

WRITERS, TRANSACTIONS, EACH, EVERY_ROLLED_BACK = 4, 22, 25, 11


class Undone(Exception):
    pass


def write_many(somebody) -> int:
    """TRANSACTIONS of EACH records, every eleventh rolled back. Returns how many records committed."""
    kept = 0
    for number in range(TRANSACTIONS):
        try:
            with transaction.atomic():
                for i in range(EACH):
                    record(actor=somebody, action="thing.change", object_type="thing", object_id=i)
                if number % EVERY_ROLLED_BACK == 0:
                    raise Undone
            kept += EACH
        except Undone:
            pass
    connection.close()
    return kept


def seal_until(done: threading.Event, dispatcher) -> int:
    sealed = 0
    while not done.is_set():
        sealed += run_sealer_round(dispatcher)
        done.wait(0.02)
    connection.close()
    return sealed


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_concurrent_writes_are_sealed_without_a_gap(somebody, dispatcher):
    done = threading.Event()
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        sealers = [pool.submit(seal_until, done, dispatcher) for _ in range(2)]
        kept = sum(future.result() for future in [pool.submit(write_many, somebody) for _ in range(WRITERS)])
        done.set()
        sealed = sum(future.result() for future in sealers)
    sealed += run_sealer_round(dispatcher)
    assert kept == sealed == ChainHead.objects.get().seq == 2_000
    assert list(AuditRecord.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 2_001))
    assert examine().finding is None

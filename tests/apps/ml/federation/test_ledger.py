"""The egress ledger of a site as the plane keeps it."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from apps.core.errors import Invalid, Refused
from apps.ml.federation import services
from apps.ml.federation.key_cipher import decrypt_key
from apps.ml.federation.ledger_checks import check_ledger, iter_ledger_lines
from apps.ml.federation.models import LedgerEntry
from apps.ml.federation.queries import list_ledger
from deepseek.federated import ledger_verifier
from deepseek.federated.ledger_verifier import encode_signed_part

pytestmark = pytest.mark.django_db


@pytest.fixture
def keep(worker_actor):
    return lambda row, entries: services.record_ledger_entries(actor=worker_actor, site_study=row, entries=entries)


def test_lines_are_kept_once_in_whatever_order_they_come(imported, write_ledger, keep):
    lines = write_ledger(imported, 3)
    assert keep(imported, [lines[2], lines[0]]) == 2
    check = check_ledger(imported)
    assert (check.is_verified, check.fault, check.line) == (False, "chain_broken", 2)
    assert keep(imported, lines) == 1
    assert keep(imported, lines) == 0
    assert check_ledger(imported).entries == 3
    assert check_ledger(imported).is_verified


def test_foreign_lines_are_not_kept_and_the_others_are(imported, write_ledger, keep):
    lines = write_ledger(imported, 2)
    for bad in ({**lines[1], "bytes": 1}, {**lines[1], "site": "hungary"}, {"x": 1}, "text"):
        with pytest.raises(Invalid) as caught:
            keep(imported, [bad, lines[0]])
        assert caught.value.code == "bad_ledger_entry"
    assert [row.document for row in LedgerEntry.objects.all()] == [lines[0]]


def test_a_signed_line_that_no_database_keeps_does_not_hold_up_the_others(imported, write_ledger, keep):
    first, last = write_ledger(imported, 2)
    key = load_pem_private_key(decrypt_key(imported.ledger_key).encode(), password=None)
    for change in ({"created_at": "2026-13-01T00:00:00.000000Z"}, {"bytes": 2**63}, {"reason": "\0"}):
        line = {**last, **change}
        line["signature"] = base64.b64encode(key.sign(encode_signed_part(line))).decode()
        with pytest.raises(Invalid):
            keep(imported, [line, first])
    assert LedgerEntry.objects.count() == 1


def test_only_the_worker_writes_it(imported, write_ledger, site_actor):
    with pytest.raises(Refused):
        services.record_ledger_entries(actor=site_actor, site_study=imported, entries=write_ledger(imported))


def test_a_row_that_was_changed_in_the_database_shows(imported, write_ledger, keep):
    keep(imported, write_ledger(imported, 2))
    row = LedgerEntry.objects.order_by("id").first()
    LedgerEntry.objects.filter(pk=row.pk).update(document={**row.document, "bytes": 1})
    assert check_ledger(imported).fault == "signature_wrong"
    LedgerEntry.objects.filter(pk=row.pk).delete()
    check = check_ledger(imported)
    assert (check.fault, "is missing" in check.reason) == ("chain_broken", True)


def test_the_file_verifies_elsewhere(imported, write_ledger, keep, tmp_path):
    keep(imported, write_ledger(imported, 2))
    data = b"".join(iter_ledger_lines(imported))
    entries = ledger_verifier.parse_lines(data)
    assert ledger_verifier.verify_chain(entries, public_key=imported.public_key) == 2


def test_filters(imported, write_ledger, keep, site_actor, other_project):
    keep(imported, write_ledger(imported, 3))
    day = LedgerEntry.objects.first().at.date().isoformat()
    found = {
        "all": list_ledger(site_actor, other_project),
        "round": list_ledger(site_actor, other_project, round="2"),
        "site": list_ledger(site_actor, other_project, site="hungary"),
        "study": list_ledger(site_actor, other_project, study=str(imported.pk)),
        "day": list_ledger(site_actor, other_project, since=day, until=day),
        "refused": list_ledger(site_actor, other_project, kind="refused"),
    }
    counts = {name: rows.count() for name, rows in found.items()}
    assert counts == {"all": 3, "round": 1, "site": 0, "study": 3, "day": 3, "refused": 0}
    for bad in ({"round": "x"}, {"since": "yesterday"}, {"until": "9999-12-31"}, {"kind": "x"}, {"study": "-1"}):
        with pytest.raises(Invalid):
            list_ledger(site_actor, other_project, **bad)

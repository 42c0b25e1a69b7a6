"""Checkpoints and their key: when, where, with which rights, and never anywhere else."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.audit import keys
from apps.platform.audit.checkpoints import append, get_checkpoints_path, read_checkpoints, write_checkpoint_if_due
from apps.platform.audit.models import AuditRecord, ChainHead
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.verifier.verify import checkpoint_fault, load_public_key

pytestmark = pytest.mark.django_db


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_rights(chain, home):
    assert mode(home / "keys" / "audit_ed25519.pem") == 0o600
    assert mode(home / "checkpoints" / "checkpoints.jsonl") == 0o600
    assert mode(home / "keys") == 0o700
    assert b"PRIVATE" not in (home / "keys" / "audit_ed25519.pub.pem").read_bytes()


def test_it_signs_where_the_head_stands(chain):
    (checkpoint,) = read_checkpoints()
    head = ChainHead.objects.get()
    assert (checkpoint["seq"], checkpoint["hash"], checkpoint["key_id"]) == (head.seq, head.hash, head.key_id)
    key = load_public_key(keys.get_public_key_path().read_bytes())
    assert checkpoint_fault(key, checkpoint) == ""
    assert checkpoint_fault(key, {**checkpoint, "seq": 9}) != ""


@pytest.mark.parametrize(
    ("records", "hours", "due"), [(0, 48, False), (1, 23, False), (1, 25, True), (999, 1, False), (1000, 1, True)]
)
def test_every_thousand_records_and_every_day(chain, records, hours, due):
    head = ChainHead.objects.get()
    ChainHead.objects.update(seq=head.seq + records, checkpoint_at=timezone.now() - timedelta(hours=hours))
    assert (write_checkpoint_if_due() is not None) is due


def test_no_records_no_checkpoint(dispatcher):
    assert run_sealer_round(dispatcher) == 0
    assert not get_checkpoints_path().exists()


def test_the_key_is_made_once(home):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keys.compute_key_id(keys.require_key(make=True)), range(8)))
    assert len(set(made)) == 1
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["audit_ed25519.pem", "audit_ed25519.pub.pem"]


def test_a_machine_that_joins_makes_no_second_key(chain, home, write, dispatcher, caplog):
    for path in (home / "keys").iterdir():
        path.unlink()
    ChainHead.objects.update(checkpoint_at=timezone.now() - timedelta(days=2))
    write(1)
    assert run_sealer_round(dispatcher) == 1
    assert not (home / "keys" / "audit_ed25519.pem").exists()
    assert "which is not in" in caplog.text


def test_the_private_key_is_in_no_record_and_no_log(chain, caplog):
    secret = keys.get_private_key_path().read_text().splitlines()[1]
    assert secret not in caplog.text
    assert secret not in "".join(AuditRecord.objects.values_list("body", flat=True))


def test_a_line_after_a_torn_one_is_whole(tmp_path):
    path = tmp_path / "new" / "lines"
    append(path, '{"a": 1}\n')
    with path.open("a") as out:
        out.write('{"torn')
    append(path, '{"b": 2}\n')
    assert json.loads(path.read_text().splitlines()[-1]) == {"b": 2}
    assert len(path.read_text().splitlines()) == 3

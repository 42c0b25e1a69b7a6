"""What a worker lets the jobs of studies do, and what it reports of them."""

from __future__ import annotations

import json
import os

import pytest

from apps.core.errors import PlaneError
from apps.ml.federation import services
from apps.ml.federation.models import LedgerEntry
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.spec import EgressRule
from deepseek.signing.keys import load_private_key
from workers.federation.attempt import FederationAttempt, require_port, require_server
from workers.federation.homes import (
    CHUNK_BYTES,
    build_home_path,
    prepare_home,
    read_ledger_lines,
    read_rounds,
    remove_keys,
    restore_ledger,
)
from workers.gangs.members import build_attempt

pytestmark = pytest.mark.django_db


def test_jobs_connect_and_listen_only_where_the_operator_allows(settings):
    settings.ENV = settings.ENV.model_copy(
        update={"federation_servers": ["10.0.0.0/8:8102"], "federation_ports": [8102]}
    )
    require_server("10.1.2.3:8102")
    require_port(8102)
    for refused in (
        lambda: require_server("10.1.2.3:443"),
        lambda: require_server("evil.example:8102"),
        lambda: require_port(22),
    ):
        with pytest.raises(PlaneError) as caught:
            refused()
        assert caught.value.first()["hint"]


@pytest.fixture
def attempt(worker, study, site_studies, hospital) -> FederationAttempt:
    """Of the first site, staged as far as its folder."""
    row = services.join_study(actor=hospital, site_study=site_studies[0])
    attempt = build_attempt(row.job, actor=worker.actor.with_job(row.job_id))
    attempt.home = prepare_home(row.job, actor=worker.actor)
    attempt.find_rows()
    return attempt


def write_entry(attempt, round):
    row = attempt.site_study
    signer = load_private_key(attempt.home / "ledger.key")
    with EgressLedger.open(attempt.home / "ledger.jsonl", study=row.digest, site=row.site, signer=signer) as ledger:
        ledger.record(b"x%d" % round, kind="update", round=round, rule=EgressRule(), norm=1.0, max_abs=1.0)


def test_the_ledger_is_reported_once_and_survives_the_node(attempt, worker, tmp_path):
    write_entry(attempt, 1)
    attempt.report()
    write_entry(attempt, 2)
    with (attempt.home / "ledger.jsonl").open("ab") as file:
        file.write(b'{"half')  # being written
    attempt.report()
    attempt.report()
    attempt.offset = 0  # another attempt, which knows nothing
    attempt.report()
    assert [entry.round for entry in LedgerEntry.objects.order_by("pk")] == [1, 2]
    written = (attempt.home / "ledger.jsonl").read_bytes().removesuffix(b'{"half')
    (attempt.home / "ledger.jsonl").unlink()
    restore_ledger(attempt.site_study, attempt.home, actor=worker.actor)
    assert (attempt.home / "ledger.jsonl").read_bytes() == written


def test_a_forged_line_is_not_taken_and_is_told_of(attempt):
    write_entry(attempt, 1)
    lines, _ = read_ledger_lines(attempt.home, 0)
    forged = json.dumps(lines[0] | {"round": 7}).encode() + b"\nnot json\n"
    with (attempt.home / "ledger.jsonl").open("ab") as file:
        file.write(forged)
    attempt.report()
    assert LedgerEntry.objects.count() == 1
    assert "not accepted" in attempt.relay.lines[-1][2]


def test_what_an_engine_puts_in_place_of_its_files_is_not_followed(tmp_path):
    secret, home = tmp_path / "secret", tmp_path / "home"
    home.mkdir()
    secret.write_text('[{"round": 1}]\n')
    (home / "ledger.jsonl").symlink_to(secret)
    (home / "rounds.json").symlink_to(secret)
    assert (read_ledger_lines(home, 0), read_rounds(home)) == (([], 0), [])
    (home / "ledger.jsonl").unlink()
    os.mkfifo(home / "ledger.jsonl")  # would be waited for without end
    assert read_ledger_lines(home, 0) == ([], 0)
    (home / "ledger.jsonl").unlink()
    (home / "ledger.jsonl").write_bytes(b"x" * CHUNK_BYTES + b'\n{"round": 1}\n')  # a line that hides the next
    lines, end = read_ledger_lines(home, 0)
    assert lines == [{}]
    assert {"round": 1} in read_ledger_lines(home, end)[0]


def test_keys_are_there_for_jobs_of_a_running_study_alone(attempt, worker, hospital, site_studies):
    assert {path.name for path in attempt.home.glob("*.key")} == {"site.key", "ledger.key"}
    (attempt.home / ".site.key.0a1b2c").write_text("of a worker that was killed")
    remove_keys(attempt.home)
    assert list(attempt.home.glob("*.key*")) == []
    services.leave_study(actor=hospital, site_study=attempt.site_study)
    with pytest.raises(PlaneError, match="no study that runs"):
        prepare_home(attempt.job, actor=worker.actor)
    assert list(build_home_path(attempt.job).glob("*.key")) == []

"""Who may ask a server: its file of tokens, its flags, and what happens when they change."""

from dataclasses import replace

import pytest

from apps.ml.endpoints.states import ReplicaState
from workers.endpoints import control
from workers.endpoints.access import ServerAccess
from workers.endpoints.replica import ReplicaRunner, ReplicaTarget, restore_target

OPEN = ReplicaTarget(endpoint="oil", address="127.0.0.1", port=8600, is_active=True, version=None)
GUARDED = replace(OPEN, access=ServerAccess(token_digests=("ab" * 32,)))


@pytest.fixture
def runner(tmp_path):
    """One whose server was started for GUARDED."""
    runner = ReplicaRunner(7, tmp_path, GUARDED)
    runner.record = {"access": GUARDED.access.compute_fingerprint()}
    runner.save(GUARDED)
    return runner


def test_the_file_of_tokens_is_its_owners_alone(tmp_path):
    path = tmp_path / "replica-7.tokens"
    access = replace(GUARDED.access, certificate="/c.pem", key="/k.pem")
    assert access.write(path) == ["--token-file", str(path), "--certificate", "/c.pem", "--key", "/k.pem"]
    assert (path.read_text(), path.stat().st_mode & 0o777) == (f"sha256:{'ab' * 32}\n", 0o600)
    assert ServerAccess().write(path) == []


def test_no_server_listens_beyond_loopback_without_a_token(tmp_path):
    runner = ReplicaRunner(7, tmp_path, replace(OPEN, address="10.0.0.5"))
    runner.step()
    assert (runner.process, runner.state) == (None, ReplicaState.FAILED)
    assert "10.0.0.5 without a token" in str(runner.error)


def test_what_a_server_was_started_with_is_restored(runner):
    assert restore_target(runner.record["target"]) == GUARDED
    old = {name: value for name, value in runner.record["target"].items() if name != "access"}
    assert restore_target(old) == OPEN  # by a worker that knew no tokens


def test_a_first_token_and_another_certificate_need_another_start(runner):
    certified = replace(GUARDED, access=replace(GUARDED.access, certificate="/c.pem"))
    rotated = replace(GUARDED, access=ServerAccess(token_digests=("cd" * 32,)))
    assert [runner.has_moved(target) for target in (GUARDED, rotated, OPEN, certified)] == [False, False, True, True]


def test_a_rotated_token_is_taken_without_a_stop(runner, monkeypatch):
    asked = []
    monkeypatch.setattr(control, "read_access_again", asked.append)
    runner.follow_access(GUARDED)
    rotated = replace(GUARDED, access=ServerAccess(token_digests=("cd" * 32,)))
    for _ in range(2):
        runner.follow_access(rotated)
    assert asked == [runner.socket]
    assert runner.token_file.read_text() == f"sha256:{'cd' * 32}\n"


def test_a_server_that_is_away_is_asked_again(runner, monkeypatch):
    def fail(path):
        raise ConnectionRefusedError

    monkeypatch.setattr(control, "read_access_again", fail)
    rotated = replace(GUARDED, access=ServerAccess(token_digests=("cd" * 32,)))
    runner.follow_access(rotated)
    assert runner.record["access"] == GUARDED.access.compute_fingerprint()


def test_a_certificate_that_was_renewed_is_seen(tmp_path):
    path = tmp_path / "c.pem"
    access = ServerAccess(certificate=str(path))
    prints = [access.compute_fingerprint()]
    for text in ("one", "three"):
        path.write_text(text)
        prints.append(access.compute_fingerprint())
    assert len(set(prints)) == 3

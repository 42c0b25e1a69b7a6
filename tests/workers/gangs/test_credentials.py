"""Members of one attempt know each other by certificates; those of another attempt are strangers."""

import ssl
from types import SimpleNamespace

import pytest

from deepseek.partitions.nodes.file_exchange import FileClient, FileServer
from deepseek.partitions.nodes.membership import Credentials
from workers.gangs.credentials import stage_credentials


@pytest.fixture
def stage(tmp_path):
    """stage(attempt, rank) -> what a member of job 7 gets, on a node of its own."""

    def stage_one(attempt, rank):
        scratch = tmp_path / f"{attempt}-{rank}"
        scratch.mkdir()
        job = SimpleNamespace(pk=7, attempt=attempt, time_limit_seconds=60)
        return Credentials(stage_credentials(job, rank, scratch))

    return stage_one


def test_members_of_one_attempt_trust_each_other_and_nobody_else(stage, tmp_path, settings):
    (tmp_path / "first").mkdir()
    (tmp_path / "first/file").write_text("of the attempt")
    server = FileServer(tmp_path / "first", "127.0.0.1", stage(1, 0))
    try:
        assert (
            FileClient(tmp_path / "second", server.address, stage(1, 1)).fetch("file").read_text() == "of the attempt"
        )
        with pytest.raises(ssl.SSLError):
            FileClient(tmp_path / "third", server.address, stage(2, 1)).fetch("file")
        settings.SECRET_KEY = "of another plane"
        with pytest.raises(ssl.SSLError):
            FileClient(tmp_path / "third", server.address, stage(1, 2)).fetch("file")
    finally:
        server.close()


def test_certificates_pass_strict_checks(stage, tmp_path, monkeypatch):
    """As Python makes them from 3.13 on."""
    build = Credentials.build_context

    def build_strict(self, purpose):
        context = build(self, purpose)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(Credentials, "build_context", build_strict)
    (tmp_path / "first").mkdir()
    (tmp_path / "first/file").write_text("of the attempt")
    server = FileServer(tmp_path / "first", "127.0.0.1", stage(1, 0))
    try:
        client = FileClient(tmp_path / "second", server.address, stage(1, 1))
        assert client.fetch("file").read_text() == "of the attempt"
    finally:
        server.close()


def test_nobody_else_may_read_them(stage):
    folder = stage(1, 0).folder
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "authority.pem": 0o600,
        "node.pem": 0o600,
        "node.key": 0o600,
    }
    assert folder.stat().st_mode & 0o777 == 0o700

"""Many files into the store at once: what a kill leaves, and what equal files become."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict
from apps.platform.artifacts import local_store
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.services import sweep_staging

KILLED = """
import os, signal, sys
from pathlib import Path
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.local_store import LocalStore
with Intake(LocalStore(Path(sys.argv[1]))) as intake:
    for path in sorted(Path(sys.argv[2]).iterdir()):
        intake.take(path)
    print("taken", flush=True)
    signal.pause()
"""


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}").write_bytes(b"%d" % (number // 2))
    return folder


def test_equal_files_are_one_object(folder, source):
    with Intake(folder) as intake:
        taken = [intake.take(path) for path in sorted(source.iterdir())]
        assert not any(folder.exists(one.digest) for one in taken)  # nothing has its name before all is durable
        intake.finish()
    assert len({one.digest for one in taken}) == 20
    assert all(folder.verify(one.digest) for one in taken)


def test_what_a_kill_leaves_is_in_staging_alone_and_swept(folder, source, operator, monkeypatch):
    command = [sys.executable, "-c", KILLED, str(folder.root), str(source)]
    where = Path(local_store.__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(where), "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=where)
    assert process.stdout
    assert process.stdout.readline() == b"taken\n"
    monkeypatch.setattr(local_store, "UNLOCKED_SECONDS", 0.0)
    assert sweep_staging(actor=operator) == 0  # its lock is held: it is at work
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not folder.exists(sha256_hex(b"0"))
    assert sweep_staging(actor=operator) == 20
    assert list(folder.staging.iterdir()) == []


def test_an_object_of_another_size_is_set_aside(folder, source):
    digest = sha256_hex(b"0")
    with Intake(folder) as intake:
        intake.take(source / "00")
        intake.finish()
    os.chmod(folder.path_of(digest), 0o600)
    folder.path_of(digest).write_bytes(b"cut")
    with Intake(folder) as intake:
        assert not intake.take(source / "00").was_there
        intake.finish()
    assert folder.verify(digest)


def test_a_plane_without_syncfs_syncs_one_by_one(folder, source, monkeypatch):
    monkeypatch.setattr("apps.platform.artifacts.intake.sync_file_system", lambda fd: False)
    with Intake(folder) as intake:
        for path in source.iterdir():
            intake.take(path)
        intake.finish()
    assert folder.verify(sha256_hex(b"7"))


def test_a_file_of_another_account_is_copied_not_linked(folder, source, monkeypatch):
    path = source / "00"
    path.chmod(0o444)  # nothing to take away: but its owner may give the right to write back
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with Intake(folder, mode="link") as intake:
        taken = intake.take(path)
        intake.finish()
    assert not taken.linked
    assert intake.not_linked == {path: "it belongs to another account"}
    assert (path.stat().st_nlink, folder.verify(taken.digest)) == (1, True)


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_a_folder_that_has_become_a_link_leads_nowhere(folder, source, tmp_path, mode):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "00").write_bytes(b"of this account alone")
    real = str((source / "00").resolve())
    source.rename(tmp_path / "aside")
    source.symlink_to(secret)
    with Intake(folder, mode=mode) as intake, pytest.raises(Conflict) as refused:
        intake.take(source / "00", real)
    assert refused.value.code == "file_changed"
    assert not folder.exists(sha256_hex(b"of this account alone"))

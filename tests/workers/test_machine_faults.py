"""Which faults cost a job no attempt."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from apps.core.errors import StaleState, StorageFull, Unavailable
from deepseek.job import EngineError
from workers.child import is_disk_full
from workers.machine_faults import find_engine_stall, find_stall

SCRATCH, STORE = Path("/home/plane/scratch/n1"), Path("/store")
OWN = SCRATCH / "1-1-1-1"


def fault(number: int, name: Path | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([str(name)] if name else []))


def test_faults_of_the_machine_and_no_others():
    expected = {
        fault(errno.ENOSPC): "storage_full",
        fault(errno.EDQUOT, OWN / "inputs/000"): "storage_full",
        StorageFull("The disk is full."): "storage_full",
        StorageFull("Too much.", code="over_quota"): None,
        Unavailable("The store does not answer."): "unavailable",
        fault(errno.EROFS, OWN): "node_unusable",
        fault(errno.EIO, OWN / "inputs/000"): "node_unusable",
        fault(errno.ESTALE, STORE / "sha256/ab"): "node_unusable",
        fault(errno.EMFILE): "node_unusable",
        fault(errno.EACCES, OWN): "node_unusable",
        fault(errno.EACCES, SCRATCH): "node_unusable",
        fault(errno.EEXIST, SCRATCH.parent): "node_unusable",
        fault(errno.ENOENT, STORE / "staging/x"): "node_unusable",
        fault(errno.EACCES, OWN / "out/secret"): None,  # the engine's own file, and it would do so again
        fault(errno.ENOENT, Path("/etc/nothing")): None,
        fault(errno.ENAMETOOLONG, OWN): None,
        ValueError("surprise"): None,
        StaleState("lost"): None,
    }
    found = {repr(f): (find_stall(f, own=OWN, shared=[SCRATCH, STORE]) or {}).get("code") for f in expected}
    assert found == {repr(failure): code for failure, code in expected.items()}


def test_engine_that_crashed_on_a_full_disk_or_without_its_folder(tmp_path):
    crash, full = {"code": "engine_crashed"}, {"code": "storage_full"}
    found = [
        find_engine_stall(error, scratch=scratch, disk_is_full=is_full, disk_is_short=is_short)
        for error, scratch, is_full, is_short in (
            (crash, tmp_path, False, True),
            (full, tmp_path, False, False),  # its own /dev/shm, or a text that quotes the system's
            (full, tmp_path, False, True),
            (crash, tmp_path, True, True),
            (crash, tmp_path / "gone", False, False),
        )
    ]
    codes = [error and error["code"] for error in found]
    assert codes == [None, None, "storage_full", "storage_full", "node_unusable"]


def test_full_disk_behind_what_a_library_raises():
    wrapped = EngineError("unreadable", "The table cannot be read.")
    wrapped.__cause__ = fault(errno.ENOSPC)
    faults = {
        fault(errno.ENOSPC): True,
        RuntimeError("I/O error: No space left on device (os error 28)"): True,
        wrapped: True,
        EngineError("unreadable", "The table says 'No space left on device'."): False,
        fault(errno.EIO): False,
        ValueError("surprise"): False,
    }
    assert {repr(error): is_disk_full(error) for error in faults} == {repr(e): full for e, full in faults.items()}

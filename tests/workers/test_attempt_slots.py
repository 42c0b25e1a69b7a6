"""Workers of one machine share its users and links: no two attempts have the same, whatever homes they are of."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from workers import attempt_slots

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's attempts have users and links of their own")

OTHER_WORKER = """
import sys
from pathlib import Path
code, locks, home = sys.argv[1:]
sys.path.insert(0, code)
from django.conf import settings
settings.configure(PLANE_HOME=home)
from workers import attempt_slots
attempt_slots.MACHINE_LOCKS = Path(locks)
with attempt_slots.take_place() as first, attempt_slots.take_place() as second:
    print(first.number, second.number, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def locks(settings, tmp_path, monkeypatch) -> Path:
    settings.PLANE_HOME = tmp_path / "home"
    monkeypatch.setattr(attempt_slots, "MACHINE_LOCKS", tmp_path / "locks")
    return tmp_path / "locks"


def take_number() -> int:
    with attempt_slots.take_place() as place:
        return place.number


def test_two_workers_of_a_machine_never_have_the_same_place(locks, tmp_path):
    """What a worker had that was killed is free again."""
    command = [sys.executable, "-c", OTHER_WORKER, str(ROOT), str(locks), str(tmp_path / "other")]
    with attempt_slots.take_place() as ours:
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        theirs = other.stdout.readline().split()
        between = take_number()
        other.kill()
        other.communicate()
        assert (ours.number, theirs, between, take_number()) == (0, ["1", "2"], 3, 1)


def test_place_of_a_killed_worker_is_taken_until_its_attempt_is_gone(engine, locks):
    """The shim removes the link of its place at its end, which must not be another attempt's by then."""
    with attempt_slots.take_place() as place:
        process = engine({"seconds": 60, "steps": 6000}, lock=place.lock)
        os.read(process.events, 1)  # the engine runs
    during = take_number()
    (child,) = psutil.Process(process.shim.pid).children()
    opened = []
    for path in Path("/proc", str(child.pid), "fd").iterdir():
        with suppress(FileNotFoundError):  # it may close a file meanwhile
            opened.append(os.readlink(path))
    process.let_go()
    process.close(60)
    assert (during, take_number()) == (1, 0)
    assert not [path for path in opened if path.startswith(str(locks))]


def test_lock_folder_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    foreign, link = tmp_path / "foreign", tmp_path / "link"
    foreign.mkdir()
    os.chown(foreign, 65534, 65534)
    link.symlink_to(tmp_path)
    for folder in (foreign, link, Path("/proc/locks")):
        monkeypatch.setattr(attempt_slots, "MACHINE_LOCKS", folder)
        assert attempt_slots.find_lock_folder() == tmp_path / "home/places"


def test_machine_without_a_free_place_says_so(monkeypatch):
    monkeypatch.setattr(attempt_slots, "MAX_PLACES", 1)
    with attempt_slots.take_place(), pytest.raises(attempt_slots.Unavailable) as refused, attempt_slots.take_place():
        pass
    assert refused.value.limit == 1

"""A path that was taken before names were checked: pushes go on beside it, and no other such path comes in."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.versions import manifest
from apps.data.repositories import folders, git
from apps.data.repositories.access import RepositoryTarget
from apps.data.repositories.receive_pack import RefUpdate
from apps.data.repositories.services import accept_push, lock_path
from apps.data.repositories.trees import QuarantinedObjects

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
]
OLD = ("con.csv", "cafe\u0301.csv")  # a device on Windows; not in Unicode's composed form


@pytest.fixture
def old(added, dataset, monkeypatch):
    """A dataset that has such paths."""
    with monkeypatch.context() as before:
        before.setattr(manifest, "check_path", lambda *_: None)
        added({path: path.encode() for path in OLD})
    return dataset


@pytest.fixture
def push(old, project, actor_for, engineer, tmp_path):
    """push({path: bytes or None}) -> what accept_push makes of a commit that adds these files, or removes them."""

    def of(files):
        with folders.lock_folder(old):
            folder = folders.ensure_current_locked_folder(old)
        clone = tmp_path / "clone"

        def run(*words):
            done = subprocess.run(
                ["git", *words], cwd=clone, env=git.build_environment(), capture_output=True, check=True
            )
            return done.stdout.decode().strip()

        clone.mkdir()
        run("clone", "-q", "-b", "main", str(folder), ".")
        before = run("rev-parse", "HEAD")
        for path, data in files.items():
            (clone / path).write_bytes(data) if data is not None else (clone / path).unlink()
        run("add", "-A")
        run("-c", "user.name=Wei", "-c", "user.email=wei@example.com", "commit", "-q", "-m", "a change")
        place = RepositoryTarget(actor_for(engineer), project, old.name, old)
        commands = [RefUpdate(before, run("rev-parse", "HEAD"), folders.MAIN)]
        objects = QuarantinedObjects(folder, clone / ".git" / "objects")
        return accept_push(target=place, commands=commands, objects=objects, lfs_address="http://testserver")

    return of


def test_a_push_beside_it_is_accepted(push):
    version = push({"new.csv": b"x\n1\n"}).version
    assert set(version.files.values_list("path", flat=True)) == {*OLD, "new.csv"}


def test_other_bytes_at_the_path_are_accepted(push):
    assert push({"con.csv": b"x\n2\n"}).version.number == 2


@pytest.mark.parametrize("path", ["aux.csv", "cafe\u0300.csv"])
def test_another_such_path_is_refused(push, path):
    with pytest.raises(Invalid) as refused:
        push({path: b"x\n1\n"})
    assert (refused.value.code, path in refused.value.message) == ("bad_path", True)


def test_the_path_can_be_locked_and_no_other(old, actor_for, engineer):
    assert lock_path(actor=actor_for(engineer), dataset=old, path="con.csv").path == "con.csv"
    with pytest.raises(Invalid):
        lock_path(actor=actor_for(engineer), dataset=old, path="aux.csv")

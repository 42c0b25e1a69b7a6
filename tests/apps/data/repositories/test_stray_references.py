"""A repository's folder shows `main` alone, whatever a push that died, or that no hook has seen, has left in it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.repositories import folders, receive_pack

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]
FETCH = "/info/refs?service=git-upload-pack"


def git(folder, *words, **more):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, **more).stdout


@pytest.fixture
def source(tmp_path):
    """A repository of a client with one commit."""
    folder = tmp_path / "source"
    git(tmp_path, "init", "--quiet", str(folder))
    (folder / "table.csv").write_bytes(b"a\n1\n")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=Wei", "-c", "user.email=wei@example.com", "commit", "--quiet", "-m", "first")
    return folder


@pytest.fixture
def push(asker, engineer, source):
    """push("refs/heads/master") -> the answer to a push of the client's commit under this name, as Git sends it."""
    there = asker(engineer)

    def send(reference):
        sha = git(source, "rev-parse", "HEAD").strip()
        update = b"%s %s %s\0report-status" % (b"0" * 40, sha, reference.encode())
        pack = git(source, "pack-objects", "--stdout", "--revs", "--quiet", input=sha + b"\n")
        body = b"%04x%s0000%s" % (len(update) + 4, update, pack)
        sent = {"content_type": "application/x-git-receive-pack-request", **there.headers}
        return there.client.post(f"{there.at}/git-receive-pack", body, **sent)

    return send


@pytest.fixture
def no_programs():
    """As on a mount that lets no program run: Git passes over the hooks."""
    for hook in (folders.get_home() / "hooks").iterdir():
        hook.chmod(0o600)


@pytest.fixture
def died(dataset, push, monkeypatch):
    """The folder after a process that died when it had accepted `master` and not yet renamed it."""

    def die(folder):
        raise KeyboardInterrupt

    folder = folders.ensure_current_folder(dataset)
    with monkeypatch.context() as patched:
        patched.setattr(receive_pack.folders, "remove_folder", die)
        with pytest.raises(KeyboardInterrupt):
            push(folders.MASTER)
    assert folders.MASTER in folders.read_references(folder)
    assert DatasetVersion.objects.get(dataset=dataset).number == 1
    return folder


def test_a_read_shows_main_alone(died, asker, viewer, source):
    shown = asker(viewer).get(FETCH).content
    assert b"refs/heads/main" in shown
    assert b"refs/heads/master" not in shown
    assert folders.read_references(died) == {folders.MAIN: git(source, "rev-parse", "HEAD").decode().strip()}


def test_a_push_shows_main_alone(died, push):
    push(folders.MASTER)
    assert folders.read_references(died).keys() == {folders.MAIN}


@pytest.mark.parametrize("ensure", [folders.ensure_current_folder, folders.ensure_current_locked_folder])
def test_a_branch_beside_the_newest_main_goes(dataset, added, ensure):
    added({"table.csv": b"a\n1\n"})
    folder = folders.ensure_current_folder(dataset)
    sha = folders.read_main_sha(folder)
    git(folder, "update-ref", folders.MASTER, sha)
    ensure(dataset)
    assert folders.read_references(folder) == {folders.MAIN: sha}
    git(folder, "fsck", "--full", "--strict")


def test_files_beside_references_are_none(dataset, added):
    added({"table.csv": b"a\n1\n"})
    folder = folders.ensure_current_folder(dataset)
    for name in ("main.lock", ".nfs0001"):
        (folder / "refs/heads" / name).write_bytes(b"")
    assert folders.read_references(folder) == {folders.MAIN: folders.read_main_sha(folder)}


@pytest.mark.parametrize("reference", [folders.MAIN, folders.MASTER, "refs/heads/other", "refs/tags/v1"])
def test_a_first_push_that_no_hook_has_seen_is_refused(project, push, no_programs, reference):
    answer = push(reference)
    assert answer.status_code == 503
    assert b"the hook of the repository did not run" in answer.content
    assert not Dataset.objects.exists()


@pytest.mark.parametrize("reference", [folders.MASTER, "refs/heads/other", "refs/tags/v1"])
def test_a_push_that_no_hook_has_seen_is_refused(dataset, push, no_programs, reference):
    answer = push(reference)
    assert answer.status_code == 503
    assert b"the hook of the repository did not run" in answer.content
    assert not DatasetVersion.objects.exists()
    assert folders.read_references(folders.ensure_current_folder(dataset)).keys() == {folders.MAIN}

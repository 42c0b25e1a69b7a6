"""`.lfsconfig` may not send the uploads of others elsewhere, nor may a small push unpack to gigabytes; real Git."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from apps.core.errors import Invalid, TooLarge
from apps.data.repositories import folders
from apps.data.repositories.lfs_config import check_lfs_config
from apps.data.repositories.push_checks import check_unpacked
from apps.data.repositories.trees import QuarantinedObjects

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
OWN = "http://plane.example:8443/git/demo/wti.git/info/lfs"


@pytest.fixture
def repository(settings, tmp_path):
    """run(*words) of git in a bare repository, and its Objects."""
    settings.PLANE_HOME = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"repositories_folder": None})
    at = folders.get_home() / "1.git"
    folders.make_repository(at)
    objects = QuarantinedObjects(at, at / "objects")

    def run(*words: str, given: bytes = b"") -> str:
        person = {"GIT_AUTHOR_NAME": "W", "GIT_AUTHOR_EMAIL": "w@x", "GIT_COMMITTER_NAME": "W"}
        env = {**objects.env, **person, "GIT_COMMITTER_EMAIL": "w@x"}
        return (
            subprocess.run(["git", *words], cwd=at, env=env, input=given, check=True, capture_output=True)
            .stdout.decode()
            .strip()
        )

    return run, objects


@pytest.fixture
def commit(repository):
    """commit({name: bytes}, parent) -> its SHA-1"""
    run, _ = repository

    def make(files: dict[str, bytes], parent: str = "") -> str:
        rows = [
            f"100644 blob {run('hash-object', '-w', '--stdin', given=data)}\t{name}" for name, data in files.items()
        ]
        tree = run("mktree", given="\n".join([*rows, ""]).encode())
        return run("commit-tree", tree, *(["-p", parent] if parent else []), "-m", "x")

    return make


REFUSED = [
    "[lfs]\n\turl = https://evil.example/lfs\n",
    "[lfs]\n\tpushurl = https://evil.example/lfs\n",
    "[LFS]\n\tPushURL = https://evil.example/lfs\n",
    '[remote "origin"]\n\tlfsurl = https://evil.example/lfs\n',
    '[remote "o.x"]\n\tlfspushurl = ssh://evil.example/lfs\n',
    '[url "https://evil.example/"]\n\tinsteadOf = http://plane.example:8443/\n',
    "[include]\n\tpath = /tmp/x\n",
    "[lfs]\n\tstandalonetransferagent = x\n",
    '[lfs "customtransfer.x"]\n\tpath = x\n',
    "[http]\n\tproxy = http://evil.example\n",
    "[lfs]\n\turl = http://plane.example:8443/git/other/mine.git/info/lfs\n",
    "[lfs]\n\turl = http://plane.example:8443@evil.example/git/demo/wti.git/info/lfs\n",
    f"[lfs]\n\turl = {OWN}?x=1\n",
    f"[lfs]\n\turl = {OWN}\n\turl = https://evil.example/lfs\n",
]
ALLOWED = [
    "",
    "[lfs]\n\tfetchexclude = images/*\n\tlocksverify = true\n",
    f"[lfs]\n\turl = {OWN}\n",
    f"[lfs]\n\turl = {OWN.replace('http', 'https')}/\n",
    '[lfs "https://plane.example"]\n\taccess = basic\n',
]


def code_of(objects: QuarantinedObjects, new: str, old: str = "") -> str:
    try:
        check_lfs_config(objects, new, old, OWN)
    except Invalid as refused:
        return str(refused.code)
    return ""


def test_uploads_stay_here(repository, commit):
    _, objects = repository
    found = {text: code_of(objects, commit({".lfsconfig": text.encode()})) for text in REFUSED + ALLOWED}
    assert found == dict.fromkeys(REFUSED, "lfs_redirected") | dict.fromkeys(ALLOWED, "")
    assert code_of(objects, commit({".lfsconfig": b"[lfs\nurl"})) == "bad_lfsconfig"


def test_no_commit_of_the_push_and_no_spelling_hides_one(repository, commit):
    _, objects = repository
    bad = REFUSED[0].encode()
    first = commit({".lfsconfig": bad})
    later = commit({"a.csv": b"a\n"}, first)
    assert code_of(objects, later) == "lfs_redirected"
    assert code_of(objects, later, first) == ""  # what is there already is not pushed again
    assert code_of(objects, commit({".LFSConfig": bad})) == "lfs_redirected"
    assert code_of(objects, commit({".lfsconfig": bad, "b.csv": b"b\n"}, first), first) == "lfs_redirected"


def test_push_is_measured_as_it_unpacks(repository, commit, settings):
    _, objects = repository
    commit({"zeros.bin": bytes(3 << 20)})
    settings.ENV = settings.ENV.model_copy(update={"git_unpacked_limit_bytes": 4 << 20})
    check_unpacked(objects)
    settings.ENV = settings.ENV.model_copy(update={"git_unpacked_limit_bytes": 2 << 20})
    with pytest.raises(TooLarge) as refused:
        check_unpacked(objects)
    assert (refused.value.code, refused.value.limit) == ("push_unpacks_too_large", 2 << 20)

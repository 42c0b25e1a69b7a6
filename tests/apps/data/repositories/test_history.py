"""Every version is a commit, at once and for ever the same."""

from __future__ import annotations

import shutil
import subprocess
from datetime import timedelta

import pytest

from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.versions.deletion import delete_version
from apps.data.repositories import folders, history
from apps.data.repositories.models import Commit
from apps.data.repositories.objects import KINDS, parse_objects

pytestmark = [pytest.mark.django_db, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]


def shas(dataset):
    return list(Commit.objects.filter(dataset=dataset).order_by("position").values_list("sha", flat=True))


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def delete(actor_for, engineer):
    return lambda version: delete_version(actor=actor_for(engineer), version=version, reason="wrong file")


def test_a_version_has_its_commit_when_it_is_added(dataset, added):
    version = added({"table.csv": b"a\n1\n"})
    root, first = Commit.objects.filter(dataset=dataset).order_by("position")
    assert (root.version, first.version) == (None, version)
    assert (root.position, first.position) == (0, 1)
    assert added({"table.csv": b"a\n1\n"}) == version
    assert len(shas(dataset)) == 2


def test_the_folder_says_what_the_rows_say(dataset, added):
    for number in range(4):
        added({"table.csv": b"a\n%d\n" % number, "more/x.bin": b"x" * number, "LICENSE": b"free"})
    folder = folders.ensure_current_folder(dataset)
    assert git(folder, "rev-list", "--reverse", "main").split() == shas(dataset)
    git(folder, "fsck", "--full", "--strict")
    assert git(folder, "show", "main:LICENSE").startswith("version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert "/LICENSE filter=lfs" in git(folder, "show", "main:.gitattributes")


def test_a_commit_adds_only_what_differs_from_the_one_before(dataset, added):
    files = {"a/x.csv": b"x", "b/y.csv": b"y", "b/c/z.csv": b"z"}
    added(files)
    added({**files, "b/y.csv": b"other"})
    data = Commit.objects.get(dataset=dataset, position=2).added.data
    kinds = [KINDS["blob"], KINDS["tree"], KINDS["tree"], KINDS["commit"]]  # y.csv, b and the root
    assert [one.kind for one in parse_objects(bytes(data))] == kinds
    git(folders.ensure_current_folder(dataset), "fsck", "--full", "--strict")


def test_what_goes_is_in_no_tree_any_more(dataset, added):
    added({"a/x.csv": b"x", "b/y.csv": b"y"})
    added({"a/x.csv": b"x"})
    shown = git(folders.ensure_current_folder(dataset), "ls-tree", "-r", "--name-only", "main").split()
    assert shown == [".gitattributes", "a/x.csv"]


def test_commits_are_the_same_when_they_are_made_again(dataset, added):
    for number in range(3):
        added({"table.csv": b"a\n%d\n" % number})
    before = shas(dataset)
    Commit.objects.all().delete()
    history.ensure_commits(dataset)
    assert shas(dataset) == before


def test_versions_that_are_older_than_repositories_get_theirs_in_order(dataset, added, monkeypatch):
    monkeypatch.setattr(history, "COMMITS_PER_TRANSACTION", 2)
    versions = [added({"table.csv": b"a\n%d\n" % number}) for number in range(5)]
    Commit.objects.all().delete()
    versions.append(added({"table.csv": b"new\n1\n"}))
    assert not shas(dataset)  # all wait for the next who asks
    history.ensure_commits(dataset)
    of = Commit.objects.filter(dataset=dataset).exclude(version=None).order_by("position")
    assert [commit.version for commit in of] == versions


def test_a_lost_folder_is_made_again(dataset, added):
    added({"table.csv": b"a\n1\n"})
    folder = folders.ensure_current_folder(dataset)
    shutil.rmtree(folder)
    assert folders.read_main_sha(folders.ensure_current_folder(dataset)) == shas(dataset)[-1]


def test_a_folder_that_says_something_else_is_made_anew(dataset, added):
    added({"table.csv": b"a\n1\n"})
    folder = folders.ensure_current_folder(dataset)
    (folder / folders.MAIN).write_text("0" * 39 + "1\n")
    assert folders.read_main_sha(folders.ensure_current_folder(dataset)) == shas(dataset)[-1]


def test_a_version_that_is_gone_leaves_the_history_whole(dataset, added):
    first = added({"table.csv": b"a\n1\n"})
    added({"table.csv": b"a\n2\n"})
    DatasetVersion.objects.filter(pk=first.pk).delete()
    added({"table.csv": b"a\n3\n"})
    folder = folders.ensure_current_folder(dataset)
    assert git(folder, "rev-list", "--reverse", "main").split() == shas(dataset)
    git(folder, "fsck", "--full")


def test_many_packs_are_put_together(dataset, added, monkeypatch):
    monkeypatch.setattr(folders, "MAX_PACKS", 2)
    for number in range(5):
        added({"table.csv": b"a\n%d\n" % number})
        folder = folders.ensure_current_folder(dataset)
    assert len(list((folder / "objects" / "pack").glob("*.pack"))) <= 3
    git(folder, "fsck", "--full")


def test_a_name_that_git_keeps_for_itself_is_not_shown(dataset, added):
    added({"table.csv": b"a\n1\n", "x/.git/config": b"no", "x/.gitignore": b"no"})
    assert git(folders.ensure_current_folder(dataset), "ls-tree", "-r", "--name-only", "main").split() == [
        ".gitattributes",
        "table.csv",
    ]


def test_what_a_person_keeps_gives_way_to_files_of_that_name(dataset, added):
    added({"table.csv": b"a\n1\n"})
    last = history.get_last_commit(dataset)
    last.kept |= {"data/.gitignore": "x\n", "more/.gitignore": "y\n", ".gitignore": "z\n"}
    last.save()
    added({"data": b"a file now", "more/.gitignore/deep.csv": b"a\n"})
    shown = git(folders.ensure_current_folder(dataset), "ls-tree", "-r", "--name-only", "main").split()
    assert shown == [".gitattributes", ".gitignore", "data", "more/.gitignore/deep.csv"]


def test_what_died_processes_left_is_swept(dataset, added):
    added({"table.csv": b"a\n1\n"})
    folders.ensure_current_folder(dataset)
    for name in ("new-1", "old-2", "passing-3.git"):
        (folders.get_home() / name).mkdir()
    assert folders.remove_stale_folders() == 0
    assert folders.remove_stale_folders(timedelta(seconds=-1)) == 3
    assert folders.get_folder(dataset).is_dir()


def test_where_the_newest_version_is_deleted_main_goes_back(dataset, added, delete):
    first, second = added({"table.csv": b"a\n1\n"}), added({"table.csv": b"a\n2\n", "more.bin": b"x"})
    delete(second)
    tip = history.ensure_commits(dataset)
    assert (tip.version, tip.position) == (first, 3)
    assert history.ensure_commits(dataset) == tip
    folder = folders.ensure_current_folder(dataset)
    assert git(folder, "ls-tree", "-r", "--name-only", "main").split() == [".gitattributes", "table.csv"]
    assert git(folder, "show", "main:table.csv") == git(folder, "show", "main~2:table.csv")
    said = git(folder, "show", "-s", "--format=%an%n%B", "main")
    assert said.startswith("engineer\nwti: back to v1, v2 is deleted\n\nwrong file\n")
    git(folder, "fsck", "--full", "--strict")


def test_an_older_version_goes_without_a_word(dataset, added, delete):
    first, second = added({"table.csv": b"a\n1\n"}), added({"table.csv": b"a\n2\n"})
    delete(first)
    assert history.ensure_commits(dataset).version == second
    assert len(shas(dataset)) == 3


def test_where_no_version_is_left_main_has_no_files(dataset, added, delete):
    delete(added({"table.csv": b"a\n1\n"}))
    assert history.ensure_commits(dataset).version is None
    assert git(folders.ensure_current_folder(dataset), "ls-tree", "-r", "--name-only", "main").split() == [
        ".gitattributes"
    ]
    again = added({"table.csv": b"a\n1\n"})
    assert history.ensure_commits(dataset).version == again


def test_a_version_that_comes_back_is_the_newest_again(dataset, added, delete):
    first = added({"table.csv": b"a\n1\n"})
    second = added({"table.csv": b"a\n2\n"})
    delete(second)
    history.ensure_commits(dataset)
    assert added({"table.csv": b"a\n2\n"}) == second
    assert history.ensure_commits(dataset).version == second
    delete(first)
    assert added({"table.csv": b"a\n1\n"}) == first
    assert history.ensure_commits(dataset).version == second  # what is younger stays in front
    git(folders.ensure_current_folder(dataset), "fsck", "--full", "--strict")

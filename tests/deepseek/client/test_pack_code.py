"""The zip of a code folder: what goes in, what does not, and that equal code has one digest."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile

import pytest

from deepseek.client import ClientError
from deepseek.client.ignore_rules import is_ignored, parse_ignore_rules
from deepseek.client.packing import scan_code_folder, write_code_zip

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def folder(tmp_path):
    """folder(name=content, ...) -> a folder with these files."""
    root = tmp_path / "code"

    def make(files: dict[str, str]):
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root

    return make


@pytest.fixture
def git(tmp_path):
    """git(*words): in the code folder, with no configuration of this machine."""
    names = {"GIT_AUTHOR_NAME": "Wei", "GIT_AUTHOR_EMAIL": "w@example.com"}
    names |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in names.items()}
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **names}

    def run(*words: str) -> str:
        command = ["git", "-C", str(tmp_path / "code"), *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()

    return run


def pack(root) -> tuple[str, zipfile.ZipFile]:
    file = io.BytesIO()
    return write_code_zip(scan_code_folder(root), file), zipfile.ZipFile(file)


def test_equal_files_have_one_digest(folder, tmp_path):
    root = folder({"train.py": "print(1)", "lib/a.py": "", "lib/b.py": "x"})
    other = tmp_path / "other"
    for name in ("lib/b.py", "lib/a.py", "train.py"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_bytes((root / name).read_bytes())
        os.utime(other / name, (0, 0))
    digest, archive = pack(root)
    assert pack(other)[0] == digest
    assert archive.namelist() == ["lib/a.py", "lib/b.py", "train.py"]
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    (other / "train.py").write_text("print(2)")
    assert pack(other)[0] != digest


def test_executable_stays_executable(folder):
    root = folder({"run.sh": "true", "train.py": ""})
    (root / "run.sh").chmod(0o700)
    modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in pack(root)[1].infolist()}
    assert modes == {"run.sh": 0o755, "train.py": 0o644}


def test_folder_outside_git(folder):
    files = {"train.py": "", "data/big.bin": "", "__pycache__/a.pyc": "", "notes.txt": "", "keep.txt": ""}
    root = folder({**files, ".gitignore": "data/\n", ".deepseekignore": "*.txt\n!keep.txt\n"})
    code = scan_code_folder(root)
    assert code.files == (".deepseekignore", ".gitignore", "keep.txt", "train.py")
    assert (code.commit, code.is_dirty) == ("", False)


@needs_git
def test_repository_gives_what_git_names_and_its_commit(folder, git):
    root = folder({"train.py": "", "secret.env": "x", "sub/.gitignore": "*.log\n", "sub/a.log": "", "sub/b.py": ""})
    git("init", "-q")
    (root / ".gitignore").write_text("secret.env\n")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    digest, archive = pack(root)
    assert archive.namelist()[:-1] == [".gitignore", "sub/.gitignore", "sub/b.py", "train.py"]
    record = json.loads(archive.read(".deepseek/code.json"))
    assert record == {"schema": "plane/code/v1", "commit": git("rev-parse", "HEAD"), "dirty": False}

    (root / "new.py").write_text("")
    (root / "sub/b.py").unlink()
    changed, archive = pack(root)
    assert changed != digest
    assert archive.namelist()[:-1] == [".gitignore", "new.py", "sub/.gitignore", "train.py"]
    assert json.loads(archive.read(".deepseek/code.json"))["dirty"]
    assert scan_code_folder(root).describe().endswith("with changes")


@needs_git
def test_tracked_file_can_be_left_out(folder, git):
    root = folder({"train.py": "", "weights.bin": "", ".deepseekignore": "weights.bin"})
    git("init", "-q")
    git("add", ".")
    assert scan_code_folder(root).files == (".deepseekignore", "train.py")


@needs_git
def test_folder_within_a_repository_is_clean_if_it_has_not_changed(folder, git):
    root = folder({"a/train.py": "", "b/other.py": ""})
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    (root / "b/other.py").write_text("changed")
    assert (scan_code_folder(root / "a").is_dirty, scan_code_folder(root / "b").is_dirty) == (False, True)
    assert scan_code_folder(root / "a").files == ("train.py",)


def test_links_out_of_the_folder_are_left_out(folder, tmp_path):
    root = folder({"train.py": "x"})
    (tmp_path / "outside.txt").write_text("secret")
    (root / "inside.py").symlink_to("train.py")
    (root / "outside.txt").symlink_to(tmp_path / "outside.txt")
    (root / "tmp").symlink_to(tmp_path)
    (root / "gone").symlink_to("nothing")
    code = scan_code_folder(root)
    assert (code.files, code.left_out) == (("inside.py", "train.py"), ("gone", "outside.txt", "tmp"))


def test_folder_that_is_too_large_names_its_largest_files(folder, monkeypatch):
    monkeypatch.setattr("deepseek.client.packing.MAX_CODE_BYTES", 2000)
    root = folder({f"{number}.txt": "x" * 100 * number for number in range(1, 9)})
    with pytest.raises(ClientError) as caught:
        scan_code_folder(root)
    error = caught.value
    assert "the largest: 8.txt (800 B), 7.txt (700 B), 6.txt (600 B), 5.txt (500 B), 4.txt (400 B)." in error.message
    assert (error.code, error.field) == ("code_too_large", "--folder")
    assert ".deepseekignore" in str(error.hint)


def test_too_many_files(folder, monkeypatch):
    monkeypatch.setattr("deepseek.client.packing.MAX_CODE_FILES", 2)
    with pytest.raises(ClientError, match="3 files"):
        scan_code_folder(folder({"a": "", "b": "", "c": ""}))


@pytest.mark.parametrize(
    ("rules", "ignored", "kept"),
    [
        ("*.pt", "a/b.pt", "a.ptx"),
        ("/data", "data/x", "a/data/x"),
        ("data/", "x/data/y", "data"),
        ("a/**/b", "a/x/y/b", "b"),
        ("a/**/b", "a/b", "x/a/b"),
        ("**/foo", "x/foo/y", "foox"),
        ("abc/**", "abc/x/y", "abc"),
        ("*.[oa]", "x.o", "x.c"),
        ("*.[!oa]", "x.c", "x.o"),
        ("*\n!keep.txt", "other.txt", "keep.txt"),
        ("a?c", "abc", "a/c"),
        ("d/e.py", "d/e.py", "x/d/e.py"),
        ("\\#x\n# y", "#x", " y"),
        ("x ", "x", "x "),
        ("[z-a]\nb", "b", "z"),
    ],
)
def test_rules_mean_what_they_mean_to_git(rules, ignored, kept):
    parsed = parse_ignore_rules(rules)
    assert (is_ignored(ignored, parsed), is_ignored(kept, parsed)) == (True, False)

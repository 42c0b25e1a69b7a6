"""The archive of a script's code, and of its checkpoints: what is unpacked, and what is refused."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from deepseek.job import EngineError
from deepseek.script import archive
from deepseek.script.archive import pack_folder, unpack_code, unpack_folder


def write_zip(path, **files: bytes | zipfile.ZipInfo):
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return path


def test_code_is_unpacked_with_its_folders_and_rights(tmp_path):
    program = zipfile.ZipInfo("run.sh")
    program.external_attr = (stat.S_IFREG | 0o755) << 16
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as zipped:
        zipped.writestr("package/train.py", "print(1)")
        zipped.writestr(program, "#!/bin/sh\n")
    assert unpack_code(tmp_path / "code.zip", tmp_path / "code") == 2
    assert (tmp_path / "code/package/train.py").read_text() == "print(1)"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "code").rglob("*") if path.is_file()}
    assert modes == {"train.py": 0o644, "run.sh": 0o755}


def test_what_is_no_plain_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad = {
        "parent": {"../x": b""},
        "absolute": {"/etc/x": b""},
        "backslash": {"a\\..\\b": b""},
        "twice": {"a": b"", "a/b": b""},
        "large": {"a": b"x" * 1001},
        "many": dict.fromkeys("abcd", b""),
    }
    cases = {name: write_zip(tmp_path / f"{name}.zip", **files) for name, files in bad.items()}
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    (tmp_path / "text.zip").write_bytes(b"this is no zip file")
    cut = cases["parent"].read_bytes()[:-30]
    (tmp_path / "cut.zip").write_bytes(cut)
    cases |= {name: tmp_path / f"{name}.zip" for name in ("link", "text", "cut")}
    wrong = {}
    for name, path in cases.items():
        try:
            unpack_code(path, tmp_path / f"out-{name}")
            wrong[name] = "unpacked"
        except EngineError as error:
            if error.code != "bad_code" or error.field != "inputs/code" or not error.hint:
                wrong[name] = error.as_dict()
    assert wrong == {}
    assert not (tmp_path / "x").exists()


def test_checkpoint_comes_back_as_it_was(tmp_path):
    folder = tmp_path / "checkpoint"
    (folder / "step").mkdir(parents=True)
    (folder / "step/state").write_bytes(b"1")
    (folder / "link").symlink_to("/etc/passwd")
    pack_folder(folder, tmp_path / "kept")
    (tmp_path / "back").mkdir()
    (tmp_path / "back/old").touch()
    unpack_folder(tmp_path / "kept", tmp_path / "back")
    assert [path.relative_to(tmp_path / "back").as_posix() for path in sorted((tmp_path / "back").rglob("*"))] == [
        "step",
        "step/state",
    ]


def test_checkpoint_that_leads_out_of_its_folder_is_refused(tmp_path):
    with tarfile.open(tmp_path / "evil", "w") as tar:
        entry = tarfile.TarInfo("../escaped")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(EngineError) as failure:
        unpack_folder(tmp_path / "evil", tmp_path / "back")
    assert failure.value.code == "bad_checkpoint"
    assert not (tmp_path / "escaped").exists()

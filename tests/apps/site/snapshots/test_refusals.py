"""What a restore refuses before it has written anything, and a backup before it has read anything."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from django.db import connection

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.artifacts.local_store import LocalStore
from apps.site.snapshots import backup, restore
from apps.site.snapshots.layout import DATABASES, Manifest, hash_file, read_manifest, read_sums

pytestmark = pytest.mark.services

OTHER = {"sqlite": "postgresql", "postgresql": "sqlite"}
WORKER = build_plane_actor(PlaneRole.WORKER, host="test")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A backup of nothing much, whole."""
    path = tmp_path / "backup"
    (path / "keys").mkdir(parents=True)
    (path / DATABASES[connection.vendor]).write_text("rows")
    (path / "keys/audit_ed25519.pem").write_text("key")
    manifest(connection.vendor).write(path)
    write_sums(path)
    return path


def manifest(vendor: str, **more) -> Manifest:
    made = Manifest("2026-01-01T00:00:00+00:00", vendor, ["audit.0001_initial"], {"seq": 3, "hash": "ab"}, 0, 0)
    return replace(made, **more)


def write_sums(path: Path, more: str = "") -> None:
    files = [found for found in sorted(path.rglob("*")) if found.is_file() and found.name != "SHA256SUMS"]
    lines = (f"{hash_file(found)}  {found.relative_to(path)}\n" for found in files)
    (path / "SHA256SUMS").write_text("".join(lines) + more)


def checked(path: Path) -> None:
    restore.check(path, read_manifest(path), {name: digest for digest, name in read_sums(path)})


def test_a_whole_one_is_taken(folder):
    checked(folder)


def test_only_the_operator_takes_one(tmp_path):
    with pytest.raises(Refused):
        backup.create_backup(actor=WORKER, out=tmp_path / "out")


def test_only_the_operator_restores_one(folder):
    with pytest.raises(Refused):
        restore.restore(actor=WORKER, source=folder, make_folders=lambda: None, migrate=lambda: None)


def test_a_folder_that_is_no_backup(tmp_path):
    with pytest.raises(Invalid, match=r"no backup: manifest.json"):
        read_manifest(tmp_path)


def test_another_format(folder):
    (folder / "manifest.json").write_text(json.dumps({**asdict(read_manifest(folder)), "format": 9}))
    with pytest.raises(Invalid, match="format 9"):
        read_manifest(folder)


def test_another_kind_of_database(folder):
    manifest(OTHER[connection.vendor]).write(folder)
    with pytest.raises(Invalid, match="DATABASE_URL names"):
        checked(folder)


def test_one_of_a_newer_version(folder):
    manifest(connection.vendor, migrations=["audit.9999_of_tomorrow"]).write(folder)
    with pytest.raises(Invalid, match=r"newer version: migration audit.9999_of_tomorrow"):
        checked(folder)


@pytest.mark.parametrize("victim", ["keys/audit_ed25519.pem", "manifest.json"])
def test_a_file_that_changed_or_is_gone(folder, victim):
    whole = (folder / victim).read_text()
    (folder / victim).write_text(whole + " ")
    with pytest.raises(Invalid, match=f"{victim} is not what it was"):
        checked(folder)


def test_an_object_that_is_not_listed(folder):
    manifest(connection.vendor, artifacts=1).write(folder)
    write_sums(folder)
    with pytest.raises(Invalid, match="does not list 1 objects"):
        checked(folder)


@pytest.mark.parametrize("name", ["/etc/passwd", "artifacts/../../x", ""])
def test_a_name_that_leads_out_of_the_folder(folder, name):
    write_sums(folder, f"{'0' * 64}  {name}\n")
    with pytest.raises(Invalid, match="a line that no backup writes"):
        list(read_sums(folder))


def test_a_key_that_signs_something_else_is_not_lost(folder, settings, tmp_path):
    settings.PLANE_HOME = tmp_path / "home"
    (tmp_path / "home/keys").mkdir(parents=True)
    (tmp_path / "home/keys/audit_ed25519.pem").write_text("another")
    with pytest.raises(Conflict, match="another file than that of the backup"):
        restore.require_nothing_lost({"keys/audit_ed25519.pem": hash_file(folder / "keys/audit_ed25519.pem")})


def test_an_object_is_stored_once_and_a_damaged_one_anew(tmp_path):
    at, source = LocalStore(tmp_path / "store"), tmp_path / "object"
    source.write_text("bytes")
    digest = hash_file(source)
    assert not restore.put_object(at, source, digest)
    assert restore.put_object(at, source, digest)
    at.path_of(digest).chmod(0o600)
    at.path_of(digest).write_text("other")
    assert not restore.put_object(at, source, digest)
    assert at.verify(digest)


def test_a_damaged_object_is_left_out_of_a_backup(tmp_path):
    at, source = LocalStore(tmp_path / "store"), tmp_path / "object"
    source.write_text("bytes")
    digest = hash_file(source)
    restore.put_object(at, source, digest)
    assert backup.copy_object(at, digest, tmp_path / "whole")
    at.path_of(digest).chmod(0o600)
    at.path_of(digest).write_text("other")
    assert not backup.copy_object(at, digest, tmp_path / "copy")
    assert not backup.copy_object(at, "0" * 64, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

"""Everything that must not come into the index, as one table."""

from __future__ import annotations

import errno
import tarfile
import zipfile

import pytest

from apps.core.errors import PlaneError
from apps.site.mirror import services
from apps.site.mirror.models import Package, PackageFile, PackageVersion
from tests.package_files import build_sdist, build_wheel, write_sums


def make_folder(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def make_bomb(folder):
    path = build_wheel(folder, "bomb", members={"bomb/zeros": bytes(80 << 20)})
    assert path.stat().st_size < 200_000
    return path


def make_device(folder, kind, linkname=""):
    member = tarfile.TarInfo("evil-1.0/null")
    member.type, member.linkname = kind, linkname
    return build_sdist(folder, "evil", member=member)


def make_twice(folder):
    path = build_wheel(folder, "twice")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("twice/__init__.py", b"other")
    return path


def test_uploads_that_are_refused(upload, engineer, tmp_path, monkeypatch):
    """(status, a word of the reason) of each."""
    assert upload(build_wheel(tmp_path, "known"), engineer).status_code == 200

    def fresh(name):
        return make_folder(tmp_path, name)

    cells = {
        "wrong sha256": (
            lambda: upload(build_wheel(fresh("a"), "acme"), engineer, sha256_digest="0" * 64),
            400,
            "digest",
        ),
        "wrong blake2": (
            lambda: upload(build_wheel(fresh("b"), "acme"), engineer, blake2_256_digest="0" * 64),
            400,
            "digest",
        ),
        "no digest": (lambda: upload(build_wheel(fresh("c"), "acme"), engineer, sha256_digest=None), 400, "digest"),
        "another name": (lambda: upload(build_wheel(fresh("d"), "acme"), engineer, name="numpy"), 400, "form"),
        "another version": (lambda: upload(build_wheel(fresh("e"), "acme"), engineer, version="2.0"), 400, "form"),
        "looks like another": (lambda: upload(build_wheel(fresh("f"), "kn-0wn"), engineer), 400, "looks like"),
        "reserved": (lambda: upload(build_wheel(fresh("g"), "DeepSeek.Offline"), engineer), 403, "operator alone"),
        "tampered": (
            lambda: upload(build_wheel(fresh("h"), "acme", record={"acme/__init__.py": b"was this\n"}), engineer),
            400,
            "RECORD",
        ),
        "leads out": (
            lambda: upload(build_wheel(fresh("i"), "acme", members={"../../etc/cron.d/x": b""}), engineer),
            400,
            "leads out",
        ),
        "a bomb": (lambda: upload(make_bomb(fresh("j")), engineer), 400, "unpacks to"),
        "a member twice": (lambda: upload(make_twice(fresh("k")), engineer), 400, "twice"),
        "a device": (lambda: upload(make_device(fresh("l"), tarfile.CHRTYPE), engineer), 400, "device"),
        "a link out": (lambda: upload(make_device(fresh("m"), tarfile.SYMTYPE, "../../x"), engineer), 400, "leads out"),
        "no wheel": (lambda: upload(write_text(fresh("n") / "acme-1.0-py3-none-any.whl"), engineer), 400, "unpacked"),
        "another kind of file": (lambda: upload(write_text(fresh("o") / "acme-1.0.exe"), engineer), 400, "neither"),
    }
    wrong = {}
    for name, (send, status, word) in cells.items():
        answer = send()
        if answer.status_code != status or word not in answer.content.decode():
            wrong[name] = (answer.status_code, answer.content.decode())
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr("apps.platform.artifacts.local_store.write_all", lambda *_: (_ for _ in ()).throw(full))
        answer = upload(build_wheel(fresh("z"), "acme"), engineer)
    if answer.status_code != 507:
        wrong["full disk"] = (answer.status_code, answer.content.decode())
    assert wrong == {}
    assert PackageFile.objects.count() == 1


def write_text(path):
    path.write_text("no archive\n")
    return path


def test_folders_that_are_refused(publish, operator, tmp_path, monkeypatch):
    """The codes of each; nothing of it is taken, what is right in it neither."""
    publish(write_sums_of(tmp_path, "first", ("known", "1.0", []), ("withdrawn", "1.0", [])))
    services.yank_version(
        actor=operator, version=PackageVersion.objects.get(package__name="withdrawn"), reason="deletes files"
    )

    def wrong_hash(folder):
        write_sums(folder)
        build_wheel(folder, "good", members={"good/x.py": b""})

    def unlisted(folder):
        write_sums(folder)
        build_wheel(folder, "other")

    def missing(folder):
        build_wheel(folder, "other")
        write_sums(folder)
        (folder / "other-1.0-py3-none-any.whl").unlink()

    def with_sums(*wheels):
        def build(folder):
            for name, version, requires in wheels:
                build_wheel(folder, name, version, requires)
            write_sums(folder)

        return build

    cells = {
        "wrong hash": (wrong_hash, "digest_mismatch"),
        "not in the sums": (unlisted, "digest_missing"),
        "in the sums alone": (missing, "package_folder_invalid"),
        "no sums": (lambda folder: None, "package_folder_invalid"),
        "needs what is not there": (with_sums(("acme", "1.0", ["absent>=2"])), "package_dependency_missing"),
        "needs another version": (with_sums(("acme", "1.0", ["known>=2"])), "package_dependency_missing"),
        "needs a direct address": (
            with_sums(("acme", "1.0", ["known @ https://example.org/known.whl"])),
            "package_dependency_missing",
        ),
        "pins what is yanked": (with_sums(("acme", "1.0", ["withdrawn==1.0"])), "package_dependency_missing"),
        "looks like another": (with_sums(("kn0wn", "1.0", [])), "package_name_confusable"),
        "two that look alike": (with_sums(("modern", "1.0", []), ("modem", "1.0", [])), "package_name_confusable"),
        "for another machine": (
            lambda folder: (build_wheel(folder, "acme", tag="cp311-cp311-win_amd64"), write_sums(folder)),
            "package_environment",
        ),
    }
    wrong = {}
    for number, (name, (spoil, code)) in enumerate(cells.items()):
        folder = make_folder(tmp_path, f"cell-{number}")
        build_wheel(folder, "good")
        spoil(folder)
        codes = refuse(publish, folder)
        if code not in codes:
            wrong[name] = codes
    monkeypatch.setattr("apps.site.mirror.services.imports.get_store_space", lambda: (10**12, 10**12 - 100))
    folder = write_sums_of(tmp_path, "full", ("good", "1.0", []))
    if refuse(publish, folder) != ["storage_full"]:
        wrong["full disk"] = refuse(publish, folder)
    assert wrong == {}
    assert sorted(Package.objects.values_list("name", flat=True)) == ["known", "withdrawn"]


def write_sums_of(tmp_path, name, *wheels):
    folder = make_folder(tmp_path, name)
    for each in wheels:
        build_wheel(folder, *each)
    return write_sums(folder)


def refuse(publish, folder):
    try:
        publish(folder, sums=False)
    except PlaneError as error:
        return [entry["code"] for entry in error.errors]
    return []

"""Files of this machine into a version: in both modes, again, changed meanwhile, killed, and what is refused."""

from __future__ import annotations

import gc
import os

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.ingest import local_files
from apps.data.datasets.ingest.local_files import ingest
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.quality.required_expectations import set_expectations
from apps.data.datasets.services import create_dataset
from apps.platform.artifacts import intake, local_store
from apps.platform.artifacts.intake import Intake
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]
BINARY = os.urandom(9 << 10)
FILES = {
    "a/one.csv": b"x,y\n1,2\n",
    "a/two.txt": b"",
    "b.bin": BINARY,
    "资料/三.json": b"{}",
    "same.txt": b"x,y\n1,2\n",
}


@pytest.fixture(autouse=True)
def home(tmp_path, settings, monkeypatch):
    """A store and an index of this test's own; a file of 9 kB is a large one."""
    for module in (intake, local_store):
        monkeypatch.setattr(module, "SMALL", 8 << 10)
    settings.PLANE_HOME = tmp_path / "home"
    settings.ENV = settings.ENV.model_copy(update={"artifact_url": ""})
    return settings.PLANE_HOME


@pytest.fixture
def folder(tmp_path):
    for path, data in FILES.items():
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (1e9, 1e9))  # long ago: a file changed just now is read again
    return tmp_path / "src"


@pytest.fixture
def take(operator, project, folder):
    return lambda path=folder, **more: ingest(
        actor=more.pop("actor", operator), project=project, dataset_name="photos", path=path, **more
    )


def test_expectations_are_checked(inline_engine, actor_for, engineer, project, take):
    actor = actor_for(engineer)
    dataset = create_dataset(actor=actor, project=project, name="photos")
    set_expectations(actor=actor, dataset=dataset, expectations=[{"kind": "range", "column": "y", "maximum": 1}])
    with pytest.raises(Invalid, match=r"a/one.csv is not what photos expects: range y: <= 1"):
        take()
    assert not DatasetVersion.objects.exists()
    assert not Holding.objects.exists()
    set_expectations(actor=actor, dataset=dataset, expectations=[{"kind": "range", "column": "y", "maximum": 2}])
    assert take().is_new


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_folder_becomes_a_version(take, folder, mode):
    files = FILES | {"b.bin": os.urandom(9 << 20)}  # too large for one thread to hash and write
    (folder / "b.bin").write_bytes(files["b.bin"])
    os.utime(folder / "b.bin", (1e9, 1e9))
    done = take(mode=mode)
    assert (done.version.number, done.is_new, done.files, done.read) == (1, True, 5, 5)
    rows = DatasetFile.objects.order_by("path").values_list("path", "artifact_id", "media_type")
    assert [(path, digest) for path, digest, _ in rows] == sorted((p, sha256_hex(d)) for p, d in files.items())
    assert {path: kind for path, _, kind in rows}["a/one.csv"] == "text/csv"
    assert all(b"".join(get_store().open(sha256_hex(data))) == data for data in files.values())
    assert Holding.objects.count() == Artifact.objects.count() == 4
    assert AuditRecord.objects.filter(action="artifact.hold_many").count() == 1
    assert list((get_store().root / "staging").iterdir()) == []


def test_version_with_a_table_is_measured_once(take, folder):
    take()
    take()
    job = Job.objects.get()
    assert (job.kind, job.requester) == ("profile", "dispatcher")
    assert job.inputs.get().artifact_id == sha256_hex(b"x,y\n1,2\n")
    take(folder / "b.bin")
    assert Job.objects.count() == 1


def test_linked_file_is_the_object_and_read_only(take, folder):
    done = take(mode="link")
    assert done.linked == 3  # the empty one is copied, the equal one is there already
    assert os.path.samefile(folder / "b.bin", get_store().path_of(sha256_hex(BINARY)))
    assert (folder / "b.bin").stat().st_mode & 0o222 == 0


def test_unchanged_folder_is_not_read_again(take):
    first = take()
    again = take()
    assert (again.version.pk, again.is_new, again.read) == (first.version.pk, False, 0)


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_only_what_changed_is_read_again(take, folder, mode):
    take(mode=mode)
    (folder / "same.txt").unlink()
    (folder / "same.txt").write_bytes(b"other")
    (folder / "a/two.txt").unlink()
    done = take(mode=mode)
    assert (done.version.number, done.files, done.read) == (2, 4, 1)
    assert DatasetVersion.objects.get(number=2).files.get(path="same.txt").artifact_id == sha256_hex(b"other")


def test_a_file_changed_in_place_within_its_clock_is_read_again(take, folder):
    (folder / "same.txt").write_bytes(b"now")
    take()
    assert take().read == 1


def test_lost_object_is_read_again(take):
    take()
    get_store().path_of(sha256_hex(BINARY)).unlink()
    assert take().read == 1
    assert get_store().verify(sha256_hex(BINARY))


def test_damaged_object_is_read_again(take):
    take()
    Artifact.objects.filter(digest=sha256_hex(BINARY)).update(damaged_at=timezone.now())
    assert take().read == 1
    assert Artifact.objects.get(digest=sha256_hex(BINARY)).damaged_at is None


def test_only_objects_of_older_versions_are_touched_again(take, folder):
    take()
    (folder / "b.bin").rename(folder.parent / "aside")
    take()
    Artifact.objects.update(touched_at=None)
    (folder.parent / "aside").rename(folder / "b.bin")
    take()
    assert list(Artifact.objects.exclude(touched_at=None).values_list("digest", flat=True)) == [sha256_hex(BINARY)]


def test_garbage_collector_is_enabled_afterwards(take, folder):
    take()
    with pytest.raises(Invalid):
        take(folder / "absent")
    assert gc.isenabled()


def test_one_file(take, folder):
    done = take(folder / "b.bin")
    assert (done.files, done.version.size) == (1, len(BINARY))


def test_file_that_changes_while_it_is_read_is_a_conflict(take, folder, monkeypatch):
    def slow(source, target, **more):
        with (folder / "b.bin").open("ab") as file:
            file.write(b"more")
        return read_through(source, target, **more)

    read_through = intake.read_through
    monkeypatch.setattr(intake, "read_through", slow)
    with pytest.raises(Conflict, match=r"b\.bin changed while it was read"):
        take()
    assert not DatasetVersion.objects.exists()
    assert not Artifact.objects.exists()
    assert list((get_store().root / "staging").iterdir()) == []


def test_links_and_pipes_are_refused(take, folder):
    (folder / "a/link").symlink_to(folder / "b.bin")
    with pytest.raises(Invalid, match=r"a/link is a symbolic link") as caught:
        take()
    assert caught.value.code == "not_a_file"
    (folder / "a/link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match="pipe is a pipe"):
        take()


def test_unreadable_file_is_refused(take, folder, monkeypatch):
    def refuse(path, *args, **more):
        if str(path).endswith("one.csv"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Invalid, match=r"one\.csv cannot be read: Permission denied"):
        take()


@pytest.mark.parametrize("name", ["back\\slash", "e\u0301", "tab\t"])
def test_unportable_name_is_refused_before_reading(take, folder, name, monkeypatch):
    (folder / name).write_bytes(b"x")
    monkeypatch.setattr(Intake, "take", lambda *_: pytest.fail("read"))
    with pytest.raises(Invalid) as caught:
        take()
    assert caught.value.code == "bad_path"


@pytest.mark.parametrize("path", ["absent", "empty"])
def test_no_files(take, tmp_path, path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid):
        take(tmp_path / path)


def test_too_many_files(take, monkeypatch):
    monkeypatch.setattr("apps.data.datasets.ingest.folder_scan.FILES_LIMIT", 3)
    with pytest.raises(Invalid, match="more than 3 files"):
        take()


def test_file_that_cannot_be_linked_is_copied_and_reported(take, folder, monkeypatch):
    def refuse(*args, **more):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = take(mode="link")
    assert len(done.not_linked) >= 3
    assert "cross-device" in next(iter(done.not_linked.values()))
    assert get_store().verify(sha256_hex(BINARY))


def test_files_of_a_killed_ingest_are_removed_by_the_next(take, home, monkeypatch):
    left = get_store().staging / "intake-0"
    left.mkdir(parents=True)
    (left / "x").write_bytes(b"half")
    monkeypatch.setattr(local_store, "UNLOCKED_SECONDS", 0.0)
    take()
    assert not left.exists()


def test_database_error_registers_nothing(take, monkeypatch):
    def fail(**_):
        raise RuntimeError("gone")

    monkeypatch.setattr(local_files, "add_version", fail)
    with pytest.raises(RuntimeError):
        take()
    assert not Holding.objects.exists()
    assert not Artifact.objects.exists()


def test_ingest_requires_an_engineer(take, actor_for, engineer, viewer, stranger):
    with pytest.raises(Refused):
        take(actor=actor_for(viewer))
    with pytest.raises(NotFound):
        take(actor=actor_for(stranger))
    assert take(actor=actor_for(engineer)).version.created_by == "engineer"


def test_link_is_followed_above_the_folder_only(take, folder, tmp_path):
    (tmp_path / "above").symlink_to(folder.parent)
    assert take(tmp_path / "above" / folder.name).files == 5
    assert take(tmp_path / "above" / folder.name / "b.bin").files == 1
    (tmp_path / "itself").symlink_to(folder)
    with pytest.raises(Invalid):
        take(tmp_path / "itself")

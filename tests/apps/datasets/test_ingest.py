"""Files of this machine into a version: in both modes, again, changed meanwhile, killed, and what is refused."""

from __future__ import annotations

import gc
import os
import time

import pytest
from django.utils import timezone

from apps.artifacts.intake import Intake
from apps.artifacts.models import Artifact, Holding
from apps.artifacts.store import store
from apps.audit.models import AuditRecord
from apps.canonical import sha256_hex
from apps.datasets import ingestion
from apps.datasets.expecting import set_expectations
from apps.datasets.ingestion import ingest
from apps.datasets.models import DatasetFile, DatasetVersion
from apps.datasets.services import create_dataset
from apps.errors import Conflict, Invalid, NotFound, Refused
from apps.jobs.models import Job

pytestmark = pytest.mark.django_db
LARGE = os.urandom(9 << 20)
FILES = {"a/one.csv": b"x,y\n1,2\n", "a/two.txt": b"", "b.bin": LARGE, "资料/三.json": b"{}", "same.txt": b"x,y\n1,2\n"}


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    """A store and an index of this test's own."""
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


def test_what_the_dataset_expects_is_checked(actor_for, engineer, project, take):
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
def test_a_folder_is_a_version(take, folder, mode):
    done = take(mode=mode)
    assert (done.version.number, done.is_new, done.files, done.read) == (1, True, 5, 5)
    files = DatasetFile.objects.order_by("path").values_list("path", "artifact_id", "media_type")
    assert [(path, digest) for path, digest, _ in files] == sorted((p, sha256_hex(d)) for p, d in FILES.items())
    assert {path: kind for path, _, kind in files}["a/one.csv"] == "text/csv"
    assert all(b"".join(store().open(sha256_hex(data))) == data for data in FILES.values())
    assert Holding.objects.count() == Artifact.objects.count() == 4
    assert AuditRecord.objects.filter(action="artifact.hold_many").count() == 1
    assert list((store().root / "staging").iterdir()) == []


def test_a_version_with_a_table_is_measured_once(take, folder):
    take()
    take()
    job = Job.objects.get()
    assert (job.kind, job.requester) == ("profile", "dispatcher")
    assert job.inputs.get().artifact_id == sha256_hex(b"x,y\n1,2\n")
    take(folder / "b.bin")
    assert Job.objects.count() == 1


def test_a_linked_file_is_the_object_and_read_only(take, folder):
    done = take(mode="link")
    assert done.linked == 3  # the empty one is copied, the equal one is there already
    assert os.path.samefile(folder / "b.bin", store().path_of(sha256_hex(LARGE)))
    assert (folder / "b.bin").stat().st_mode & 0o222 == 0


def test_the_same_again_is_the_same_and_reads_nothing(take):
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


def test_what_the_store_lost_is_read_again(take):
    take()
    store().path_of(sha256_hex(LARGE)).unlink()
    assert take().read == 1
    assert store().verify(sha256_hex(LARGE))


def test_what_a_scrub_found_damaged_is_read_again(take):
    take()
    Artifact.objects.filter(digest=sha256_hex(LARGE)).update(damaged_at=timezone.now())
    assert take().read == 1
    assert Artifact.objects.get(digest=sha256_hex(LARGE)).damaged_at is None


def test_what_the_newest_version_cites_is_not_touched_again_and_what_an_older_one_does_is(take, folder):
    take()
    (folder / "b.bin").rename(folder.parent / "aside")
    take()
    Artifact.objects.update(touched_at=None)
    (folder.parent / "aside").rename(folder / "b.bin")
    take()
    assert list(Artifact.objects.exclude(touched_at=None).values_list("digest", flat=True)) == [sha256_hex(LARGE)]


def test_cycles_are_looked_for_again_afterwards(take, folder):
    take()
    with pytest.raises(Invalid):
        take(folder / "absent")
    assert gc.isenabled()


def test_one_file(take, folder):
    done = take(folder / "b.bin")
    assert (done.files, done.version.size) == (1, len(LARGE))


def test_a_file_that_changes_while_it_is_read_is_named(take, folder, monkeypatch):
    def slow(source, target, **more):
        with (folder / "b.bin").open("ab") as file:
            file.write(b"more")
        return read_through(source, target, **more)

    from apps.artifacts import intake

    read_through = intake.read_through
    monkeypatch.setattr(intake, "read_through", slow)
    with pytest.raises(Conflict, match=r"b\.bin changed while it was read"):
        take()
    assert not DatasetVersion.objects.exists()
    assert not Artifact.objects.exists()
    assert list((store().root / "staging").iterdir()) == []


def test_what_is_no_file_is_named(take, folder):
    (folder / "a/link").symlink_to(folder / "b.bin")
    with pytest.raises(Invalid, match=r"a/link is a symbolic link") as caught:
        take()
    assert caught.value.code == "not_a_file"
    (folder / "a/link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match="pipe is a pipe"):
        take()


def test_what_cannot_be_read_is_named(take, folder, monkeypatch):
    def refuse(path, *args, **more):
        if str(path).endswith("one.csv"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Invalid, match=r"one\.csv cannot be read: Permission denied"):
        take()


@pytest.mark.parametrize("name", ["back\\slash", "e\u0301", "tab\t"])
def test_a_name_that_differs_elsewhere_is_refused_before_anything_is_read(take, folder, name, monkeypatch):
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
    monkeypatch.setattr("apps.datasets.scanning.FILES_LIMIT", 3)
    with pytest.raises(Invalid, match="more than 3 files"):
        take()


def test_what_cannot_be_linked_is_copied_and_told(take, folder, monkeypatch):
    def refuse(*args, **more):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = take(mode="link")
    assert len(done.not_linked) >= 3
    assert "cross-device" in next(iter(done.not_linked.values()))
    assert store().verify(sha256_hex(LARGE))


def test_what_a_killed_ingest_left_is_swept_by_the_next(take, home):
    left = store().staging / "intake-0"
    left.mkdir(parents=True)
    (left / "x").write_bytes(b"half")
    time.sleep(0)
    from apps.artifacts import local

    local.UNLOCKED_SECONDS, before = 0.0, local.UNLOCKED_SECONDS
    try:
        take()
    finally:
        local.UNLOCKED_SECONDS = before
    assert not left.exists()


def test_a_fault_of_the_database_registers_nothing(take, monkeypatch):
    def fail(**_):
        raise RuntimeError("gone")

    monkeypatch.setattr(ingestion, "add_version", fail)
    with pytest.raises(RuntimeError):
        take()
    assert not Holding.objects.exists()
    assert not Artifact.objects.exists()


def test_who_may(take, actor_for, engineer, viewer, stranger):
    with pytest.raises(Refused):
        take(actor=actor_for(viewer))
    with pytest.raises(NotFound):
        take(actor=actor_for(stranger))
    assert take(actor=actor_for(engineer)).version.created_by == "engineer"


def test_a_link_to_the_folder_itself_is_refused_and_one_above_it_is_not(take, folder, tmp_path):
    (tmp_path / "above").symlink_to(folder.parent)
    assert take(tmp_path / "above" / folder.name).files == 5
    assert take(tmp_path / "above" / folder.name / "b.bin").files == 1
    (tmp_path / "itself").symlink_to(folder)
    with pytest.raises(Invalid):
        take(tmp_path / "itself")

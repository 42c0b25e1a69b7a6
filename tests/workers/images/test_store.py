"""Images of a node: unpacked once, thrown away half unpacked, removed when no environment names them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal

import pytest

from apps.core.errors import PlaneError
from apps.platform.jobs.models import Job
from workers import isolation, kinds
from workers.images import store
from workers.isolation import Isolation


class Stopped(Exception):
    pass


@pytest.fixture
def use(settings, tmp_path):
    """use(name=path) -> the environments of this worker."""

    def set_environments(**paths) -> None:
        store._load.cache_clear()
        entries = [f"{name}=oci:{path}" for name, path in paths.items()]
        settings.ENV = settings.ENV.model_copy(update={"script_environments": entries, "node_name": "n"})

    settings.PLANE_HOME = tmp_path / "home"
    yield set_environments
    store._load.cache_clear()


@pytest.fixture
def job():
    return Job(kind="script", spec=json.dumps({"environment": "vision"}))


def prepare(job, check=lambda: None):
    lines = []
    store.prepare_image(job, check, lines.append)
    return lines


def test_image_is_unpacked_once(use, job, write_image, monkeypatch):
    path = write_image([("bin/python", b"python")])
    use(vision=path)
    assert "was unpacked" in prepare(job)[0]
    root = store.get_root(store.find_image(job))
    assert (root / "bin/python").read_bytes() == b"python"
    assert (root / "etc/hosts").read_bytes() == b""  # to mount that of the node over
    assert root.parent == store.get_images_root()
    monkeypatch.setattr(store, "unpack_image", lambda *_: pytest.fail("unpacked twice"))
    assert prepare(job) == []
    assert store.describe_image(job) == {"image": {"name": "vision", "digest": store.find_image(job).digest}}
    assert prepare(Job(kind="script", spec='{"environment": ""}')) == prepare(Job(kind="noop", spec="{}")) == []


def test_attempt_that_is_stopped_leaves_nothing(use, job, write_image):
    use(vision=write_image([("a", b"x"), ("b", b"x")]))
    looks = iter([None, None])

    def check() -> None:
        if next(looks, Stopped) is Stopped:
            raise Stopped

    with pytest.raises(Stopped):
        prepare(job, check)
    assert [path.name for path in store.get_images_root().iterdir()] == ["lock"]


def unpack_and_die(job: Job) -> None:
    looks = iter([None, None])
    store.prepare_image(job, lambda: next(looks, 0) is None or os.kill(os.getpid(), signal.SIGKILL), print)


def test_worker_killed_while_it_unpacks_leaves_nothing_that_is_used(use, job, write_image):
    use(vision=write_image([("a", b"x"), ("b", b"x")]))
    store.load_images()
    process = multiprocessing.get_context("fork").Process(target=unpack_and_die, args=(job,))
    process.start()
    process.join()
    root = store.get_root(store.find_image(job))
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in sorted(root.parent.iterdir())] == ["lock", root.name + store.PART]
    prepare(job)
    assert sorted(path.name for path in root.iterdir()) == ["a", "b", "etc"]


def test_start_removes_what_no_environment_names(use, job, write_image):
    use(vision=write_image([("a", b"x")]), other=write_image([("b", b"x")]))
    for name in ("vision", "other"):
        prepare(Job(kind="script", spec=json.dumps({"environment": name})))
    root = store.get_root(store.find_image(job))
    root.with_name(root.name + store.PART).mkdir()
    store.remove_unused_images()
    assert len(list(root.parent.iterdir())) == 3  # the lock too
    use(vision=store.find_image(job).path)
    store.remove_unused_images()
    assert sorted(path.name for path in root.parent.iterdir()) == ["lock", root.name]


def test_start_keeps_what_may_still_be_of_use(use, job, write_image, tmp_path):
    """What another worker unpacks, and the root of an image whose file is away for a moment."""
    use(vision=write_image([("a", b"x")]))
    prepare(job)
    root = store.get_root(store.find_image(job))
    part = root.with_name(root.name + store.PART)
    part.mkdir()
    with store.lock_images(lambda: None):
        store.remove_unused_images()
    assert part.is_dir()
    use(vision=tmp_path / "away")
    store.remove_unused_images()
    assert sorted(path.name for path in root.parent.iterdir()) == ["lock", root.name]


def test_image_that_breaks_its_reader_is_described(use, write_image, monkeypatch):
    monkeypatch.setattr(store, "read_image", lambda layout: 1 / 0)
    use(vision=write_image([("a", b"x")]))
    assert "ZeroDivisionError" in store.describe_environments()[0]["reason"]


def test_image_that_cannot_be_used_is_described_and_refused(use, job, write_image, settings, tmp_path):
    use(vision=tmp_path / "gone", other=write_image([("a", b"x")]))
    rows = store.describe_environments(why_no_images="there is no sandbox")
    assert [(row["name"], row["kind"]) for row in rows] == [("other", "image"), ("vision", "image")]
    assert rows[0]["reason"] == "there is no sandbox"
    assert "No such file" in rows[1]["reason"]
    assert "reason" not in store.describe_environments()[0]
    with pytest.raises(PlaneError) as failure:
        prepare(job)
    assert failure.value.code == "bad_image"


@pytest.mark.django_db
def test_node_that_cannot_change_the_root_refuses_with_the_remedy(use, job, write_image, monkeypatch, tmp_path):
    use(vision=write_image([("a", b"x")]))
    monkeypatch.setattr(isolation, "detect_isolation", lambda: Isolation("root"))
    root = str(store.get_root(store.find_image(job)))
    plan = isolation.plan_confinement(job, tmp_path, 0)["sandbox"]
    assert (plan["image"], root in plan["keep"]) == ({"root": root, "job_folder": "/job"}, True)
    reason = "pivot_root: Invalid argument"
    monkeypatch.setattr(isolation, "detect_isolation", lambda: Isolation("root", no_images=reason))
    with pytest.raises(PlaneError) as failure:
        isolation.plan_confinement(job, tmp_path, 0)
    assert (failure.value.code, reason in str(failure.value)) == ("sandbox_missing", True)


def test_hosts_file_is_not_written_through_a_link(use, job, write_image, tmp_path):
    (tmp_path / "outside").mkdir()
    use(vision=write_image([("etc", "->", str(tmp_path / "outside"))]), other=write_image([("etc", b"file")]))
    for name in ("vision", "other"):
        prepare(Job(kind="script", spec=json.dumps({"environment": name})))
    assert list((tmp_path / "outside").iterdir()) == []
    assert (store.get_root(store.load_images()["other"]) / "etc").read_bytes() == b"file"


def test_environment_that_is_gone_is_named(use, job):
    use(other="/srv/gone.tar")
    with pytest.raises(PlaneError) as failure:
        kinds.get_environment_settings(job)
    assert (failure.value.code, failure.value.field) == ("environment_missing", "/spec/environment")


def test_image_that_was_replaced_is_not_run_under_the_old_name(use, job, write_image):
    path = write_image([("a", b"x")])
    use(vision=path)
    store.load_images()
    new = write_image([("a", b"y")])
    (new / "index.json").rename(path / "index.json")
    for blob in (new / "blobs/sha256").iterdir():
        blob.rename(path / "blobs/sha256" / blob.name)
    with pytest.raises(PlaneError) as failure:
        prepare(job)
    assert failure.value.code == "image_changed"

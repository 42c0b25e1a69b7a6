"""Two writers on one repository in an S3-compatible store: the second is refused, and takes over what is abandoned."""

from __future__ import annotations

import threading
import time

import pytest

from deepseek.snapshots.chunking import split_blocks
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.keys import generate_recovery_key, parse_recovery_key
from deepseek.snapshots.repository import Repository
from tests.deepseek.snapshots.conftest import take
from workers.snapshots import s3_lease
from workers.snapshots.s3_lease import S3Lease
from workers.snapshots.s3_storage import S3Storage

KEY = b"k" * 32


@pytest.fixture(scope="module")
def make_storage(s3_endpoint):
    def make(name):
        return S3Storage(f"leases/{name}", endpoint=s3_endpoint, access_key="testing", secret_key="testing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        make("first").fs.mkdir("leases")
        yield make


def catch_code(work):
    with pytest.raises(SnapshotError) as caught:
        work()
    return caught.value.code


def enter(storage):
    with storage.lock():
        pass


def test_second_writer_is_refused_until_the_first_has_ended(make_storage):
    first, second = make_storage("turns"), make_storage("turns")
    _text, public = generate_recovery_key()
    with first.lock():
        assert catch_code(lambda: enter(second)) == "snapshot_busy"
        create = lambda: Repository.create(second, plane_key=KEY, recovery_public=public)  # noqa: E731
        assert catch_code(create) == "snapshot_busy"
    enter(second)
    enter(first)


def test_of_many_at_once_one_gets_it(make_storage):
    """Both where the object is new and where it was released."""
    storages = [make_storage("race") for _ in range(4)]
    for _round in range(2):
        barrier, done, outcomes = threading.Barrier(4), threading.Event(), []

        def run(storage, barrier=barrier, done=done, outcomes=outcomes):
            barrier.wait(60)
            try:
                with storage.lock():
                    outcomes.append("held")
                    done.wait(120)
            except SnapshotError as failure:
                outcomes.append(failure.code)

        threads = [threading.Thread(target=run, args=(storage,)) for storage in storages]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(outcomes) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        done.set()
        for thread in threads:
            thread.join(60)
        assert sorted(outcomes) == ["held", *["snapshot_busy"] * 3]


def test_abandoned_lease_is_taken_over_and_its_former_holder_writes_nothing_more(make_storage, monkeypatch):
    monkeypatch.setattr(s3_lease, "RENEW_SECONDS", 1000.0)  # a renewal between two requests of the other would win
    former, storage = make_storage("late"), make_storage("late")
    _text, public = generate_recovery_key()
    repository = Repository.create(storage, plane_key=KEY, recovery_public=public, split=split_blocks)
    take(repository, "1" * 32, {}, [b"one"])
    names = sorted(storage.list_names("objects"))
    with former.lock():
        monkeypatch.setattr(s3_lease, "LEASE_SECONDS", 0.0)  # as if its process had been stopped for a minute
        with storage.lock():
            monkeypatch.setattr(s3_lease, "RENEW_SECONDS", 0.0)
            former.lease.renew_until_released()
            assert former.lease.is_lost
            late = Repository.open(former, plane_key=KEY, split=split_blocks)
            assert catch_code(lambda: late.add_object("0" * 64, lambda: [b"late"])) == "snapshot_lease_lost"
            assert catch_code(lambda: late.remove_snapshot("1" * 32)) == "snapshot_lease_lost"
        owner = storage.fs.call_s3("head_object", Bucket="leases", Key="late/lock")["Metadata"]["owner"]
        assert owner == ""
    assert repository.list_snapshot_ids() == ["1" * 32]
    assert sorted(storage.list_names("objects")) == names


def test_renewal_that_nobody_heard_of_does_not_keep_the_lease(make_storage):
    storage = make_storage("late-renewal")
    with storage.lock():
        etag = storage.lease.etag
        assert storage.lease.write(storage.lease.owner, etag=etag)
        storage.lease.etag = etag
    enter(storage)


def test_store_that_stops_to_answer_ends_the_writing(make_storage, monkeypatch):
    storage = make_storage("away")
    with storage.lock():
        storage.write(f"snapshots/{'1' * 32}", [b"root"])
        storage.lease.renewed_at -= s3_lease.FENCE_SECONDS + 1
        assert catch_code(lambda: storage.delete(f"snapshots/{'1' * 32}")) == "snapshot_lease_lost"


def test_write_whose_answer_was_lost_counts(make_storage, monkeypatch):
    """The client tries again, and its own first try makes the second one fail."""
    storage = make_storage("lost-answer")
    lease = S3Lease(storage.fs, f"{storage.root}/lock")
    call = storage.fs.call_s3

    def call_twice(method, **fields):
        if method == "put_object":
            call(method, **fields)
        return call(method, **fields)

    monkeypatch.setattr(storage.fs, "call_s3", call_twice)
    assert lease.write(lease.owner)
    assert lease.write(lease.owner, etag=lease.etag)
    assert not lease.write(lease.owner, etag='"another"')


def test_store_without_conditional_writes_is_refused(make_storage, monkeypatch):
    storage = make_storage("unsafe")
    call = storage.fs.call_s3

    def ignore_conditions(method, **fields):
        return call(method, **{name: value for name, value in fields.items() if not name.startswith("If")})

    monkeypatch.setattr(storage.fs, "call_s3", ignore_conditions)
    assert catch_code(lambda: enter(storage)) == "snapshot_storage_unsafe"


def test_recovery_key_is_replaced(make_storage):
    storage = make_storage("keys")
    (old, old_public), (new, new_public) = generate_recovery_key(), generate_recovery_key()
    Repository.create(storage, plane_key=KEY, recovery_public=old_public)
    Repository.open(storage, plane_key=KEY).replace_recovery_key(new_public)
    assert Repository.open(storage, recovery_key=parse_recovery_key(new)).repository_id
    assert catch_code(lambda: Repository.open(storage, recovery_key=parse_recovery_key(old))) == "snapshot_key_wrong"

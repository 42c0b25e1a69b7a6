"""Stopped anywhere, a build and an application go on, and nothing is applied by halves."""

import errno
import os
import subprocess
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Unavailable
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import add_files
from apps.platform.artifacts.models import Holding
from apps.platform.audit.models import AuditRecord
from apps.site.transfer import services
from apps.site.transfer.folders import get_incoming_folder, get_outgoing_folder, get_transfer_folder
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.services.driving import drive
from deepseek.bundles.verification import verify_bundle
from tests.apps.site.transfer.conftest import TARGET, VOLUME_BYTES, become, trust


class Killed(BaseException):
    """What no handler catches, as a signal that no process sees."""


@pytest.fixture
def data(site, project, held):
    files = [(f"{n}.bin", held(os.urandom(700_000)).pk, "application/octet-stream") for n in range(3)]
    return add_files(actor=site.builder, project=project, dataset_name="wti", files=files)


STEPS = {
    "objects": "apps.site.transfer.services.loading.store_objects",
    "packages": "apps.site.transfer.services.loading.read_packages",
    "first row": "apps.site.transfer.loading.loader.ensure_dataset",
    "lineage": "apps.site.transfer.loading.loader.record_with",
    "state": "apps.site.transfer.services.loading.change_state",
    "seal": "apps.site.transfer.services.loading.seal_now",
}


def test_a_load_that_is_stopped_at_any_step_goes_on(site, data, other_project, carried, approve, monkeypatch):
    bundle = carried("data/wti:v1")
    approve(services.request_application(actor=site.receiver, bundle=bundle))

    def die(*_, **__):
        raise Killed

    for step, place in STEPS.items():
        row = IncomingBundle.objects.select_related("project").get(pk=bundle.pk)
        with monkeypatch.context() as patch:
            patch.setattr(place, die)
            with pytest.raises(Killed):
                services.load_bundle(actor=site.worker, bundle=row)
        applied = IncomingBundle.objects.get(pk=bundle.pk).state == "applied"
        assert (step, applied, Dataset.objects.filter(project=other_project).count()) == (step, False, 0)
        assert not Holding.objects.filter(project=other_project).exists()
    assert services.drive_bundles(actor=site.worker) == 1
    assert IncomingBundle.objects.get().state == "applied"
    assert DatasetVersion.objects.get(dataset__project=other_project).files.count() == 3
    assert services.drive_bundles(actor=site.worker) == 0


def test_a_full_disk_spends_no_approval(site, data, carried, approve, monkeypatch):
    bundle = carried("data/wti:v1")
    approval = services.request_application(actor=site.receiver, bundle=bundle)
    approve(approval)

    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("apps.site.transfer.services.loading.store_objects", fill)
        pauses = []
        for _ in range(3):
            services.drive_bundles(actor=site.worker)
            row = IncomingBundle.objects.get(pk=bundle.pk)
            assert (row.state, row.error["code"]) == ("approved", "storage_full")
            pauses.append(round((row.retry_at - timezone.now()).total_seconds() / 60))
            services.drive_bundles(actor=site.worker)  # too early: nothing is tried
            IncomingBundle.objects.update(retry_at=timezone.now() - timedelta(seconds=1))
    assert pauses == [1, 2, 4]
    assert AuditRecord.objects.filter(action="bundle.postpone").count() == 1
    IncomingBundle.objects.update(retry_at=timezone.now() + timedelta(hours=1))
    services.retry_step(actor=site.receiver, bundle=row)
    services.drive_bundles(actor=site.worker)
    row.refresh_from_db()
    assert (row.faults, row.retry_at, row.progress) == (0, None, {})
    assert (row.state, row.error, row.approval_id) == ("applied", None, approval.pk)


def test_a_disk_that_cannot_be_read_voids_no_request(site, data, carried, approve, monkeypatch):
    approval = services.request_application(actor=site.receiver, bundle=carried("data/wti:v1"))

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("apps.site.transfer.facts.open_catalogue", fail)
        with pytest.raises(Unavailable):
            approve(approval)
    assert approve(approval).state == "approved"


def test_a_build_that_is_stopped_behind_its_last_volume_writes_the_same(site, data, project, build, monkeypatch):
    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("apps.site.transfer.services.outgoing.change_state", die)
        with pytest.raises(Killed):
            build("data/wti:v1")
    with monkeypatch.context() as patch:
        patch.setattr("apps.site.transfer.services.outgoing.make_plan", die)
        services.drive_bundles(actor=site.worker)
    bundle = OutgoingBundle.objects.get()
    folder = get_outgoing_folder(bundle)
    assert verify_bundle(folder).manifest.digest == bundle.manifest_digest
    assert {path.suffix for path in folder.iterdir()} == {".tar", ".json"}
    assert not (folder / "head.json").exists()


def test_a_worker_with_an_old_list_leaves_what_another_one_did(site, data, carried, monkeypatch):
    """Its list says `checking`; behind the lock the bundle is checked, and its objects stay as they are."""
    bundle = carried("data/wti:v1")
    services.request_check(actor=site.receiver, bundle=bundle)
    old = IncomingBundle.objects.select_related("project").get()
    services.check_bundle(actor=site.worker, bundle=bundle)
    folder = get_incoming_folder(bundle)
    assert not drive(site.worker, old, folder, lambda: services.check_bundle(actor=site.worker, bundle=old))
    assert IncomingBundle.objects.get().state == "checked"
    services.discard_bundle(actor=site.receiver, bundle=bundle)
    (folder / "objects").mkdir(parents=True)  # as a kill behind the commit would leave it
    services.sweep_bundles(actor=site.worker)
    assert not folder.exists()


def test_a_check_that_is_stopped_is_done_again(site, data, other_project, build, receive, monkeypatch):
    trust(other_project, "Ada", "Bo")
    bundle = receive(*build("data/wti:v1"))
    services.request_check(actor=site.receiver, bundle=bundle)

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("apps.site.transfer.services.checking.scan_folder", die)
        with pytest.raises(Killed):
            services.check_bundle(actor=site.worker, bundle=bundle)
    services.drive_bundles(actor=site.worker)
    assert IncomingBundle.objects.get().state == "checked"


def mount_tmpfs(folder, size):
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small disk")


def test_a_full_disk_postpones_a_build_which_then_goes_on(site, data, build, project, settings):
    folder = get_transfer_folder()
    mount_tmpfs(folder, "1500k")
    try:
        with pytest.raises(AssertionError):
            build("data/wti:v1")
        bundle = OutgoingBundle.objects.get()
        assert (bundle.state, bundle.error["code"]) == ("queued", "storage_full")
        assert not list(folder.rglob("*.part"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
        services.retry_bundle(actor=site.builder, bundle=bundle)
        services.drive_bundles(actor=site.worker)
        assert OutgoingBundle.objects.get().state == "built"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_a_volume_and_leaves_nothing(site, data, other_project, build):
    trust(other_project, "Ada", "Bo")
    source, manifest = build("data/wti:v1")
    content = (source / "volume-0001.tar").read_bytes()
    become(TARGET)
    from tests.apps.site.transfer.conftest import sign

    document = sign(manifest, "Ada", "Bo")
    bundle = services.receive_envelope(actor=site.receiver, project=other_project, document=document)
    folder = get_transfer_folder() / "incoming"
    mount_tmpfs(folder, "300k")
    try:
        with pytest.raises(Exception) as caught:
            services.receive_volume(actor=site.receiver, bundle=bundle, number=1, stream=[content])
        assert caught.value.code == "storage_full"
        assert not [path for path in folder.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    services.receive_volume(actor=site.receiver, bundle=bundle, number=1, stream=[content])
    assert len(content) <= VOLUME_BYTES

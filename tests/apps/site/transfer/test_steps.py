"""Building, checking and loading as steps of a worker: how far they are, in turn, cancelled and tried again."""

import errno
import os
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Refused
from apps.data.datasets.models import Dataset
from apps.data.datasets.services import add_files
from apps.platform.approvals.models import Approval
from apps.platform.audit.models import AuditRecord
from apps.site.transfer import services
from apps.site.transfer.folders import get_incoming_folder, get_outgoing_folder, hold_folder
from apps.site.transfer.models import IncomingBundle, OutgoingBundle
from apps.site.transfer.presenters import describe_step
from apps.site.transfer.queries import count_ahead, has_due_bundle
from apps.site.transfer.services.progress import StepCancelled, StepProgress
from tests.apps.site.transfer.conftest import trust


@pytest.fixture
def data(site, project, held):
    files = [(f"{n}.bin", held(os.urandom(700_000)).pk, "application/octet-stream") for n in range(3)]
    return add_files(actor=site.builder, project=project, dataset_name="wti", files=files)


@pytest.fixture
def patient(monkeypatch):
    """Every count of bytes is written, and not only one a second."""
    monkeypatch.setattr("apps.site.transfer.services.progress.WRITE_SECONDS", 0)


@pytest.fixture
def seen(patient, monkeypatch):
    """Every progress that was written: (stage, done, total)."""
    rows, write = [], StepProgress.write

    def keep(progress):
        write(progress)
        rows.append((progress.stage, progress.done, progress.total))

    monkeypatch.setattr(StepProgress, "write", keep)
    return rows


@pytest.fixture
def cancelled_at(patient, monkeypatch):
    """cancelled_at(stage, cancel): `cancel` is called when a step reaches the stage."""
    write = StepProgress.write

    def use(stage, cancel):
        def interrupt(progress):
            if progress.stage == stage:
                cancel()
            write(progress)

        monkeypatch.setattr(StepProgress, "write", interrupt)

    return use


def get(model):
    return model.objects.select_related("project").latest("pk")


def test_steps_say_how_far_they_are(site, data, other_project, carried, load, seen):
    bundle = carried("data/wti:v1")
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages == ["plan", "write", "verify", "scan", "compare"]
    assert all(max(done for at, done, total in seen if at == stage) >= 2_100_000 for stage in ("write", "verify"))
    seen.clear()
    load(bundle)
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["compare", "store", "rows"]
    assert get(IncomingBundle).progress == {}


def test_a_page_says_rate_and_what_is_left(db):
    since, at = "2026-11-30T09:00:00+00:00", "2026-11-30T09:00:10+00:00"
    progress = {"stage": "verify", "done": 100, "total": 400, "since": since, "at": at}
    step = describe_step(IncomingBundle(progress=progress))
    assert (step["rate"], step["eta_seconds"], step["retry_at"]) == (10, 30, None)


def test_a_second_request_waits_behind_the_first(site, data, project, build, worker_actor):
    build("data/wti:v1")
    inventory = get(OutgoingBundle).inventory
    rows = [
        services.request_bundle(actor=site.builder, project=project, contents=["data/wti:v1"], inventory=inventory)
        for _ in range(2)
    ]
    assert [count_ahead(row) for row in rows] == [0, 1]
    assert describe_step(rows[1])["ahead"] == 1
    assert services.drive_bundles(actor=site.worker) == 2
    assert not has_due_bundle(site.worker)
    assert rows[0].__class__.objects.filter(state="built").count() == 3


def test_a_build_that_is_cancelled_goes_on_later(site, data, project, build, cancelled_at, monkeypatch):
    cancelled_at("write", lambda: cancel_once(site, OutgoingBundle))
    with pytest.raises(StepCancelled):
        build("data/wti:v1")
    bundle = get(OutgoingBundle)
    assert bundle.state == "cancelled"
    assert not list(get_outgoing_folder(bundle).glob(".*.part"))
    assert services.drive_bundles(actor=site.worker) == 0
    services.retry_bundle(actor=site.builder, bundle=bundle)
    assert services.drive_bundles(actor=site.worker) == 1
    bundle.refresh_from_db()
    assert bundle.state == "built"
    with pytest.raises(Conflict):
        services.cancel_build(actor=site.builder, bundle=bundle)


def cancel_once(site, model):
    bundle = get(model)
    if model is OutgoingBundle and bundle.state == "queued" and not AuditRecord.objects.filter(action="bundle.cancel"):
        services.cancel_build(actor=site.builder, bundle=bundle)
    if model is IncomingBundle and bundle.state in ("checking", "approved"):
        services.cancel_step(actor=site.receiver, bundle=bundle)


def test_a_check_that_is_cancelled_leaves_the_volumes(site, data, other_project, build, receive, check, cancelled_at):
    trust(other_project, "Ada", "Bo")
    bundle = receive(*build("data/wti:v1"))
    with pytest.raises(Refused):
        services.cancel_step(actor=site.decider, bundle=bundle)
    services.request_check(actor=site.receiver, bundle=bundle)
    cancelled_at("scan", lambda: cancel_once(site, IncomingBundle))
    assert services.drive_bundles(actor=site.worker) == 0
    bundle = get(IncomingBundle)
    assert (bundle.state, bundle.error, bundle.progress) == ("receiving", None, {})
    assert (get_incoming_folder(bundle) / "volume-0001.tar").is_file()
    assert AuditRecord.objects.filter(action="bundle.cancel").count() == 1


def test_a_load_that_is_cancelled_applies_nothing_and_spends_its_approval(
    site, data, other_project, carried, approve, cancelled_at
):
    bundle = carried("data/wti:v1")
    approve(services.request_application(actor=site.receiver, bundle=bundle))
    cancelled_at("rows", lambda: cancel_once(site, IncomingBundle))
    assert services.drive_bundles(actor=site.worker) == 0
    assert get(IncomingBundle).state == "checked"
    assert not Dataset.objects.filter(project=other_project).exists()
    assert (
        services.request_application(actor=site.receiver, bundle=get(IncomingBundle)).pk == Approval.objects.last().pk
    )


def test_a_load_that_is_cancelled_behind_its_last_row_applies_nothing(
    site, data, other_project, carried, approve, monkeypatch
):
    bundle = carried("data/wti:v1")
    approve(services.request_application(actor=site.receiver, bundle=bundle))
    monkeypatch.setattr(
        "apps.site.transfer.services.loading.check_approval",
        lambda bundle, _: IncomingBundle.objects.update(state="checked"),
    )
    assert services.drive_bundles(actor=site.worker) == 0
    assert not Dataset.objects.filter(project=other_project).exists()


def test_a_load_under_an_approval_that_was_cancelled_applies_nothing(
    site, data, other_project, carried, approve, monkeypatch
):
    bundle = carried("data/wti:v1")
    approve(services.request_application(actor=site.receiver, bundle=bundle))
    monkeypatch.setattr(  # cancelled, asked for and approved anew, all while it is loaded
        "apps.site.transfer.services.loading.check_approval",
        lambda bundle, _: IncomingBundle.objects.update(approval_id=bundle.approval_id + 1),
    )
    assert services.drive_bundles(actor=site.worker) == 0
    assert (get(IncomingBundle).state, Dataset.objects.filter(project=other_project).exists()) == ("approved", False)


def test_a_folder_that_cannot_be_locked_keeps_no_other_bundle_waiting(site, data, carried, build, monkeypatch):
    bundle = carried("data/wti:v1")
    services.request_check(actor=site.receiver, bundle=bundle)
    OutgoingBundle.objects.update(state="queued")
    stuck = get_outgoing_folder(get(OutgoingBundle))

    def hold(folder):
        if folder == stuck:
            raise OSError(errno.EACCES, "Permission denied")
        return hold_folder(folder)

    monkeypatch.setattr("apps.site.transfer.services.driving.hold_folder", hold)
    assert services.drive_bundles(actor=site.worker) == 1
    assert get(IncomingBundle).state == "checked"
    assert (get(OutgoingBundle).error["code"], get(OutgoingBundle).faults) == ("transfer_folder", 1)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), ValueError("secret")])
def test_a_fault_in_a_check_is_tried_again_later_and_says_so(
    site, data, other_project, build, receive, fault, monkeypatch
):
    trust(other_project, "Ada", "Bo")
    bundle = receive(*build("data/wti:v1"))
    services.request_check(actor=site.receiver, bundle=bundle)
    place = "extract_objects" if isinstance(fault, OSError) else "refuse"
    with monkeypatch.context() as patch:
        if place == "refuse":
            patch.setattr("apps.site.transfer.services.checking.extract_objects", raise_fault(fault))
        patch.setattr(f"apps.site.transfer.services.checking.{place}", raise_fault(fault))
        services.drive_bundles(actor=site.worker)
    bundle.refresh_from_db()
    code = "storage_full" if isinstance(fault, OSError) else "bundle_fault"
    assert (bundle.state, bundle.error["code"], bundle.faults) == ("checking", code, 1)
    assert "secret" not in str(bundle.error)
    assert describe_step(bundle)["retry_at"] == bundle.retry_at > timezone.now() + timedelta(seconds=50)
    assert not has_due_bundle(site.worker)
    IncomingBundle.objects.update(retry_at=timezone.now() - timedelta(seconds=1))
    services.drive_bundles(actor=site.worker)
    assert get(IncomingBundle).state == "checked"


def raise_fault(fault):
    def fail(*_, **__):
        raise fault

    return fail


def test_what_nobody_touches_is_discarded(site, data, carried, settings):
    settings.ENV = settings.ENV.model_copy(update={"transfer_quarantine_days": 7})
    bundle = carried("data/wti:v1")
    services.sweep_bundles(actor=site.worker)
    assert get(IncomingBundle).state == "checked"
    old = timezone.now() - timedelta(days=8)
    IncomingBundle.objects.update(touched_at=old)
    approval = services.request_application(actor=site.receiver, bundle=bundle)
    Approval.objects.filter(pk=approval.pk).update(state="expired")
    assert services.sweep_bundles(actor=site.worker) == 0  # it was asked for today
    IncomingBundle.objects.update(touched_at=old)
    Approval.objects.filter(pk=approval.pk).update(state="pending")
    assert services.sweep_bundles(actor=site.worker) == 0  # somebody is asked about it
    Approval.objects.filter(pk=approval.pk).update(state="expired")
    assert services.sweep_bundles(actor=site.worker) == 1
    assert get(IncomingBundle).state == "discarded"
    assert not get_incoming_folder(bundle).exists()
    assert AuditRecord.objects.filter(action="bundle.discard").count() == 1

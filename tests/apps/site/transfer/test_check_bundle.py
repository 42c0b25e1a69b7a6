"""Quarantine: every byte, the scanner, what is needed and what belongs to the plane as a whole."""

import os

import pytest

from apps.core.errors import Conflict, Refused
from apps.data.datasets.services import add_files
from apps.platform.audit.models import AuditRecord
from apps.platform.nodes.models import ConflictRules
from apps.site.mirror.models import Advisory, AdvisoryFeed
from apps.site.transfer import services
from apps.site.transfer.folders import get_incoming_folder, get_objects_folder
from deepseek.doctor.conflict_rules import load_builtin_rules
from tests.apps.site.transfer.conftest import trust

SCANNER = '#!/bin/sh\nls "$1" > {seen}\nexit {status}\n'


@pytest.fixture
def data(site, project, held):
    artifact = held(b"rows")
    return add_files(actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")])


@pytest.fixture
def waiting(data, other_project, build, receive):
    """A bundle with all of its volumes that was not checked yet."""
    trust(other_project, "Ada", "Bo")
    return receive(*build("data/wti:v1"))


@pytest.fixture
def scanner(settings, tmp_path):
    """scanner(status) -> where the command writes what it was given."""

    def use(status, **more):
        script, seen = tmp_path / "scan.sh", tmp_path / "seen"
        script.write_text(SCANNER.format(seen=seen, status=status))
        script.chmod(0o755)
        settings.ENV = settings.ENV.model_copy(update={"malware_scan_command": str(script), **more})
        return seen

    return use


def test_a_flipped_bit_is_refused_and_the_right_volume_heals_it(site, waiting, check, other_project):
    path = get_incoming_folder(waiting) / "volume-0001.tar"
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(good[:3000] + bytes([good[3000] ^ 1]) + good[3001:])
    assert check(waiting).error["code"] == "volume_damaged"
    assert waiting.state == "refused"
    assert AuditRecord.objects.filter(action="incomingbundle.refused").count() == 1
    assert not get_objects_folder(waiting).exists()
    services.receive_volume(actor=site.receiver, bundle=waiting, number=1, stream=[good])
    assert check(waiting).state == "checked"


def test_each_volume_is_verified(site, project, held, other_project, build, receive, check):
    """A flipped bit in any of three volumes, or one that is another's, is refused by the number of the volume."""
    trust(other_project, "Ada", "Bo")
    files = [(f"{n}.bin", held(os.urandom(700_000)).pk, "application/octet-stream") for n in range(3)]
    add_files(actor=site.builder, project=project, dataset_name="wide", files=files)
    folder, manifest = build("data/wide:v1")
    bundle, found = receive(folder, manifest), {}
    assert len(manifest.volumes) == 3
    for volume in manifest.volumes:
        path = get_incoming_folder(bundle) / volume.name
        good = path.read_bytes()
        path.write_bytes(good[:-5000] + bytes([good[-5000] ^ 128]) + good[-4999:])
        found[volume.name] = check(bundle).error["field"], check(bundle).error["code"]
        path.write_bytes(good)
    assert found == {volume.name: (volume.name, "volume_damaged") for volume in manifest.volumes}
    assert check(bundle).state == "checked"


def test_a_volume_that_went_meanwhile_is_refused(site, waiting):
    services.request_check(actor=site.receiver, bundle=waiting)
    (get_incoming_folder(waiting) / "volume-0001.tar").unlink()
    assert services.check_bundle(actor=site.worker, bundle=waiting).error["code"] == "volume_missing"


def test_the_scanner_decides_and_sees_our_names_only(waiting, check, scanner):
    seen = scanner(0)
    assert check(waiting).scan["verdict"] == "clean"
    assert all(len(name) == 64 for name in seen.read_text().split())
    scanner(1)
    assert check(waiting).error["code"] == "malware_found"
    assert AuditRecord.objects.filter(action="incomingbundle.refused", body__contains="found something").count() == 1
    assert not get_objects_folder(waiting).exists()
    scanner(2)
    assert check(waiting).error["code"] == "scan_failed"
    scanner(0, malware_scan_command="/nowhere/scan")
    assert check(waiting).error["code"] == "scan_failed"
    scanner(0, malware_scan_command="", malware_scan="required")
    assert check(waiting).error["code"] == "scan_failed"
    scanner(0, malware_scan_command="sh -c 'sleep 9; true'", malware_scan_seconds=0.1)
    assert check(waiting).error["code"] == "scan_failed"
    scanner(0, malware_scan_command="", malware_scan="optional")
    assert check(waiting).scan["verdict"] == "not_scanned"


def test_bytes_that_are_neither_carried_nor_here_are_named(data, other_project, build, receive, check, held):
    trust(other_project, "Ada", "Bo")
    artifact = held(b"rows")
    built = build("data/wti:v1", present=[artifact.pk])  # an inventory that says too much
    bundle = receive(*built)
    artifact.holdings.all().delete()
    data_rows = artifact.__class__.objects.filter(pk=artifact.pk)
    data_rows.update(damaged_at="2026-11-30T00:00:00Z")
    assert check(bundle).error["code"] == "object_missing"


def test_a_digest_brings_no_bytes_of_another_project(data, other_project, build, receive, check, held):
    trust(other_project, "Ada", "Bo")
    bundle = receive(*build("data/wti:v1", present=[held(b"rows").pk]))  # the source's own, which is on this plane too
    assert check(bundle).error["code"] == "object_missing"
    held(b"rows", other_project)
    assert check(bundle).state == "checked"


def test_what_belongs_to_the_plane_needs_its_administrator(
    site, project, other_project, carried, load, sysadmin, actor_for
):
    feed = AdvisoryFeed.objects.create(name="osv.json", digest="1" * 64, advisories=1, imported_by="x")
    affected = {"versions": ["1.0"], "ranges": [[{"introduced": "0"}]]}
    Advisory.objects.create(feed=feed, advisory_id="PYSEC-7", package_name="pump", summary="bad", affected=affected)
    builtin = load_builtin_rules()
    ConflictRules.objects.create(version="7", digest="2" * 64, rules=builtin["rules"][:1], imported_by="x")
    bundle = carried("advisories", "conflicts")
    AdvisoryFeed.objects.all().delete()
    ConflictRules.objects.all().delete()
    services.request_check(actor=site.receiver, bundle=bundle)
    services.check_bundle(actor=site.worker, bundle=bundle)
    with pytest.raises(Conflict) as caught:
        services.request_application(actor=site.receiver, bundle=bundle)
    assert caught.value.code == "bundle_needs_administrator"
    with pytest.raises(Refused):
        services.accept_plane_contents(actor=site.receiver, bundle=bundle, reason="mine")
    services.accept_plane_contents(actor=actor_for(sysadmin), bundle=bundle, reason="read")
    load(bundle)
    row = Advisory.objects.get()
    assert (row.advisory_id, row.package_name, row.affected) == ("PYSEC-7", "pump", affected)
    assert ConflictRules.objects.get().rules == builtin["rules"][:1]

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, NotFound, PlaneError, Refused, StaleState
from apps.fleet.releases.key_storage import get_key_path
from apps.fleet.releases.models import KeyList, Release, ReleaseKey
from apps.fleet.releases.queries import get_key_lists
from apps.fleet.releases.services import issuing, revoke_key
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.garbage import iter_uncited_parts
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge
from deepseek.signing.dsse import Envelope
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release

pytestmark = pytest.mark.django_db


def verify(release):
    """What a device makes of it, from the plane's lists of keys alone."""
    keys = verify_key_lists(parse_key_lists(get_key_lists()))
    return verify_release(Envelope.parse(release.envelope), keys)


def test_a_device_verifies_what_was_approved_and_by_whom(variant, issue, project, approver):
    release = issue(variant)
    verified = verify(release)
    statement = verified.statement
    assert verified.digest == release.payload_digest
    assert (statement.project, statement.model, statement.version) == (project.slug, "wti-forecast", 1)
    assert (statement.variant, statement.format, statement.architecture) == ("tvm-x86_64", "tvm", "x86_64")
    assert [file.name for file in statement.files] == ["model.json", "model.tvm-x86_64", "samples.json"]
    assert statement.model_file.sha256 == variant.artifact_id
    assert statement.samples == "samples.json"
    assert [(one.person, one.decision) for one in statement.approval.decisions] == [("approver", "approve")]
    assert statement.approval.facts_digest == release.approval.facts_digest


def test_the_first_key_is_made_with_the_first_release_and_no_other(variant, issue):
    first, second = issue(variant), issue(variant)
    key = ReleaseKey.objects.get()
    assert (first.key, second.key) == (key, key)
    assert (first.sequence, second.sequence) == (1, 2)
    assert get_key_path(key.key_id).stat().st_mode & 0o777 == 0o600
    assert KeyList.objects.count() == 1
    assert AuditRecord.objects.filter(action="release.issue").count() == 2
    edges = Edge.objects.filter(target_type="release", target_id=str(first.pk))
    assert sorted(edges.values_list("source_type", flat=True)) == ["model_version", "variant"]


def test_a_model_of_the_same_name_goes_on_with_the_sequence(variant, issue, make_variant, approved, add_samples):
    issue(variant)
    model = variant.version.model
    model.deleted_at = model.created_at
    model.save()
    again = make_variant()
    approved(again.version)
    add_samples(again)
    assert again.version.model_id != model.pk
    assert issue(again).sequence == 2


def test_what_nobody_approved_is_not_released(make_variant, add_samples, issue, variant, approved):
    waiting = make_variant()
    add_samples(waiting)
    approval = approved(make_variant(note="other").version)
    approval.state = ApprovalState.VOID
    codes = []
    for options in ({}, {"approval": approval}):
        with pytest.raises(Conflict) as refused:
            issue(waiting, **options)
        codes.append(refused.value.code)
    assert codes == ["release_needs_approval"] * 2
    assert not Release.objects.exists()
    assert not ReleaseKey.objects.exists()


def test_an_approval_that_the_caller_brings_counts(make_variant, add_samples, issue, approved, variant):
    later = make_variant(note="other")
    add_samples(later)
    approval = variant.version.model.alias_moves.get().approval
    assert verify(issue(later, approval=approval)).statement.approval.id == approval.pk


def test_samples_are_left_out_only_on_demand(make_variant, approved, issue):
    bare = make_variant()
    approved(bare.version)
    with pytest.raises(Conflict) as refused:
        issue(bare)
    assert (refused.value.code, refused.value.field) == ("release_needs_samples", "without_samples")
    assert verify(issue(bare, without_samples=True)).statement.samples is None


def test_the_processor_must_be_one_that_devices_have(make_variant, approved, add_samples, issue):
    odd = make_variant(arch="riscv64")
    approved(odd.version)
    with pytest.raises(Conflict, match="riscv64") as refused:
        issue(odd, without_samples=True)
    assert refused.value.code == "not_deployable"
    others = {}
    for name in ("fp32", "int8"):
        form = odd.version.variants.select_related("version__model__project", "artifact", "manifest").get(name=name)
        others[name] = issue(form, without_samples=True).architecture
    form.machine = {"engine": "fbgemm"}
    others["packed for x86"] = issue(form, without_samples=True).architecture
    assert others == {"fp32": "any", "int8": "any", "packed for x86": "x86_64"}


def test_damaged_bytes_are_not_signed(variant, issue, spoil):
    spoil(variant.manifest_id)
    with pytest.raises(Conflict) as refused:
        issue(variant)
    assert refused.value.code == "artifact_damaged"
    assert not Release.objects.exists()


def test_a_key_that_others_may_read_signs_nothing(variant, issue, key):
    get_key_path(key.key_id).chmod(0o644)
    with pytest.raises(PlaneError) as refused:
        issue(variant)
    assert (refused.value.status, refused.value.code) == (503, "key_file_unsafe")
    assert "/" not in refused.value.message  # no place on the plane's machine
    get_key_path(key.key_id).unlink()
    with pytest.raises(PlaneError) as refused:
        issue(variant)
    assert (refused.value.status, refused.value.code) == (503, "key_file_missing")
    assert not Release.objects.exists()


def test_a_key_that_is_revoked_meanwhile_signs_nothing(variant, issue, key, operator, monkeypatch):
    load = issuing.load_signer

    def load_slowly(row):
        signer = load(row)
        revoke_key(actor=operator, key=row, reason="stolen")
        return signer

    monkeypatch.setattr(issuing, "load_signer", load_slowly)
    with pytest.raises(StaleState):
        issue(variant)
    assert not Release.objects.exists()
    monkeypatch.setattr(issuing, "load_signer", load)
    assert issue(variant).key != key


def test_who_may_not(variant, issue, actor_for, viewer, approver, stranger):
    for who in (viewer, approver):
        with pytest.raises(Refused):
            issue(variant, who=actor_for(who))
    with pytest.raises(NotFound):
        issue(variant, who=actor_for(stranger))


def test_its_files_are_cited(variant, issue):
    release = issue(variant)
    digests = {file.artifact_id for file in release.files.all()}
    uncited = {
        digest for part in iter_uncited_parts(timezone.now() + timedelta(days=1), lambda: None) for digest, _ in part
    }
    assert len(digests) == 3
    assert not digests & uncited
    assert json.loads(release.envelope)["signatures"][0]["keyid"] == release.key.key_id

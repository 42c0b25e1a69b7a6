"""Keys of signers: proposed by one, trusted by the approvers, revoked at once by either."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.approvals.models import Approval
from apps.site.transfer import services
from apps.site.transfer.models import BundleSigner
from apps.site.transfer.queries import list_trusted_signers
from apps.site.transfer.services.signers import build_signer_facts
from deepseek.bundles.signer_files import encode_signer
from tests.apps.site.transfer.conftest import KEYS, SOURCE


@pytest.fixture
def propose(site, other_project):
    def ask(person="Ada", actor=None, document=None, key=None, **more):
        document = document or encode_signer(person, KEYS[key or person].public_key).decode()
        return services.propose_signer(
            actor=actor or site.receiver, project=other_project, source=SOURCE, document=document, **more
        )

    return ask


def test_a_key_counts_once_another_person_approved_it(site, propose, approve, other_project):
    signer, approval = propose()
    assert list_trusted_signers(other_project.pk, SOURCE.id) == {}
    approve(approval)
    trusted = list_trusted_signers(other_project.pk, SOURCE.id)
    assert [row.person for row in trusted.values()] == ["Ada"]
    with pytest.raises(Conflict) as caught:
        propose()
    assert caught.value.code == "signer_exists"
    signer.refresh_from_db()
    services.revoke_signer(actor=site.decider, signer=signer, reason="lost")
    assert list_trusted_signers(other_project.pk, SOURCE.id) == {}
    with pytest.raises(Conflict):
        services.revoke_signer(actor=site.decider, signer=signer, reason="lost")
    propose()  # after a revocation it may be proposed again


def test_a_proposed_key_that_is_revoked_ends_its_request(site, propose, approve):
    signer, approval = propose()
    services.revoke_signer(actor=site.decider, signer=signer, reason="lost on the way")
    approval.refresh_from_db()
    assert approval.state == "void"
    with pytest.raises(Conflict) as caught:
        approve(approval)
    assert caught.value.code == "already_decided"
    signer.refresh_from_db()
    assert signer.state == "revoked"


def test_a_key_counts_until_it_expires(site, propose, approve, other_project):
    for days in (0, 1096):
        with pytest.raises(Invalid) as caught:
            propose(valid_days=days)
        assert caught.value.code == "bad_valid_days"
    signer, approval = propose(valid_days=2)
    assert json.loads(approval.facts)["expires_at"] == signer.expires_at.isoformat()
    approve(approval)
    rows = BundleSigner.objects.filter(pk=signer.pk)
    counts = {}
    for hours in (1, -1):
        rows.update(expires_at=timezone.now() + timedelta(hours=hours))
        counts[hours] = len(list_trusted_signers(other_project.pk, SOURCE.id))
    assert counts == {1: 1, -1: 0}


def test_a_key_that_would_have_expired_is_not_trusted(propose, approve):
    signer, approval = propose(valid_days=1)
    BundleSigner.objects.filter(pk=signer.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    signer.refresh_from_db()
    Approval.objects.filter(pk=approval.pk).update(**write_facts(build_signer_facts(signer)))
    approval.refresh_from_db()
    with pytest.raises(Conflict) as caught:
        approve(approval)
    assert caught.value.code == "signer_expired"


def write_facts(facts):
    text = encode_canonical_json(facts)
    return {"facts": text, "facts_digest": sha256_hex(text)}


def test_a_new_key_of_a_person_replaces_the_old_one(site, propose, approve, other_project):
    old, approval = propose()
    with pytest.raises(Invalid) as caught:
        propose("Ada", key="Cy", replaces=old)  # not trusted yet
    assert caught.value.code == "signer_not_replaceable"
    approve(approval)
    old.refresh_from_db()
    with pytest.raises(Invalid):
        propose("Bo", replaces=old)  # another person's
    new, approval = propose(" ada", key="Cy", replaces=old)
    assert {row.fingerprint for row in list_rows(other_project)} == {old.fingerprint}
    approve(approval)
    assert {row.fingerprint for row in list_rows(other_project)} == {new.fingerprint}
    old.refresh_from_db()
    assert (old.state, new.fingerprint[:16] in old.revoke_reason) == ("revoked", True)


def list_rows(project):
    return BundleSigner.objects.filter(project=project, state="trusted")


def test_a_row_that_was_edited_voids_its_approval(propose, approve):
    signer, approval = propose()
    BundleSigner.objects.filter(pk=signer.pk).update(person="Mallory")
    with pytest.raises(Conflict) as caught:
        approve(approval)
    assert caught.value.code == "approval_void"


def test_who_may_not_and_what_is_no_key_is_refused(site, propose):
    with pytest.raises(Refused):
        propose(actor=site.decider)
    for document in ("", "{}", encode_signer("Ada", KEYS["Ada"].public_key).decode().replace("Ada", "Bo\\u0000")):
        with pytest.raises(Invalid) as caught:
            propose(document=document or "x")
        assert caught.value.code == "signer_malformed"

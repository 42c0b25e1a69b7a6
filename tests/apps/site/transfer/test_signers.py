"""Keys of signers: proposed by one, trusted by the approvers, revoked at once by either."""

import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.site.transfer import services
from apps.site.transfer.models import BundleSigner
from apps.site.transfer.queries import list_trusted_signers
from deepseek.bundles.signer_files import encode_signer
from tests.apps.site.transfer.conftest import KEYS, SOURCE


@pytest.fixture
def propose(site, other_project):
    def ask(person="Ada", actor=None, document=None):
        document = document or encode_signer(person, KEYS[person].public_key).decode()
        return services.propose_signer(
            actor=actor or site.receiver, project=other_project, source=SOURCE, document=document
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

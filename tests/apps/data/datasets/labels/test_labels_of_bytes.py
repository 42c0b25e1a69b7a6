"""A label stays with the bytes: in a copy under another name, after a deletion; and what a hidden dataset expects."""

from __future__ import annotations

import pytest

from apps.core.errors import NotFound
from apps.data.datasets.labels.services import set_dataset_label
from apps.data.datasets.models import Dataset
from apps.data.datasets.quality.required_expectations import (
    find_demanding_dataset,
    merge_expectations,
    set_expectations,
)
from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.deletion import delete_version
from apps.platform.accounts.models import Membership, User
from apps.platform.artifacts.models import Holding
from apps.platform.audit.models import AuditRecord
from deepseek.profile.spec import ProfileSpec

pytestmark = pytest.mark.django_db
NOT_NULL = {"kind": "not_null", "column": "close"}


@pytest.fixture
def secret(added, held, dataset, secadmin, actor_for):
    """A version of a dataset with the label `secret`; the bytes are `secret.artifact`."""
    artifact = held(b"close\n57.3\n")
    version = added({"a.csv": artifact})[0]
    set_dataset_label(actor=actor_for(secadmin), dataset=dataset, label="secret")
    version.artifact = artifact
    version.dataset.refresh_from_db()
    return version


@pytest.fixture
def other(worker_actor, project):
    return create_dataset(actor=worker_actor, project=project, name="other")


@pytest.fixture
def remover(project, actor_for):
    """An engineer who is cleared for everything."""
    user = User.objects.create(username="cleared", must_change_password=False, clearance=3)
    Membership.objects.create(project=project, user=user, role="engineer")
    return actor_for(user)


def is_readable(actor, artifact) -> bool:
    return Holding.objects.readable_by(actor).filter(artifact=artifact).exists()


def get_label(dataset) -> int:
    return Dataset.objects.get(pk=dataset.pk).security_label


def test_the_same_bytes_elsewhere_get_the_label(secret, added, held, other, engineer, actor_for):
    added({"unrelated.csv": held(b"other\n")}, into=other)
    assert get_label(other) == 0
    added({"copy.csv": secret.artifact, "more.csv": held(b"more\n")}, into=other)
    assert (get_label(other), is_readable(actor_for(engineer), secret.artifact)) == (3, False)
    record = AuditRecord.objects.filter(action="dataset.set_label").latest("pk")
    assert '"source":"the same bytes"' in record.body


def test_it_stays_with_the_bytes_of_a_deleted_version(secret, added, other, engineer, remover, actor_for):
    delete_version(actor=remover, version=secret, reason="wrong")
    assert not is_readable(actor_for(engineer), secret.artifact)
    added({"copy.csv": secret.artifact}, into=other)
    assert (get_label(other), is_readable(actor_for(engineer), secret.artifact)) == (3, False)
    assert not Holding.objects.exclude(security_label=None).exists()  # the dataset hides them now


def test_bytes_that_a_lower_dataset_had_first_are_not_hidden_by_a_deletion(
    added, held, dataset, other, secadmin, engineer, remover, actor_for
):
    artifact = held(b"close\n57.3\n")
    added({"b.csv": artifact}, into=other)
    version = added({"a.csv": artifact})[0]
    set_dataset_label(actor=actor_for(secadmin), dataset=dataset, label="secret")
    version.dataset.refresh_from_db()
    delete_version(actor=remover, version=version, reason="wrong")
    assert is_readable(actor_for(engineer), artifact)


def test_who_is_not_cleared_learns_nothing_of_what_it_expects(secret, project, engineer, remover, actor_for):
    set_expectations(actor=remover, dataset=secret.dataset, expectations=[NOT_NULL])
    spec, name = ProfileSpec(), secret.dataset.name
    for look in (
        lambda actor: find_demanding_dataset(actor, project, name),
        lambda actor: merge_expectations(actor, project, name, spec),
    ):
        with pytest.raises(NotFound):
            look(actor_for(engineer))
        assert look(remover)

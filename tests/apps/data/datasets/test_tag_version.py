"""Names for versions: set, moved, taken away, and found by."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.models import VersionTag
from apps.data.datasets.queries import get_version
from apps.data.datasets.versions.tags import remove_version_tag, tag_version
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def two(added, held):
    return added({"a.parquet": held(b"one")})[0], added({"a.parquet": held(b"two")})[0]


@pytest.fixture
def who(actor_for, engineer):
    return actor_for(engineer)


def test_a_version_is_found_by_its_tag(two, who, project):
    tag, created = tag_version(actor=who, version=two[0], name="v1-approved")
    assert (created, tag.created_by) == (True, "engineer")
    assert get_version(who, project, "wti-daily", "v1-approved").pk == two[0].pk
    assert "v1-approved" in AuditRecord.objects.get(action="dataset.tag").body


def test_the_same_again_changes_nothing(two, who):
    tag_version(actor=who, version=two[0], name="gold")
    assert tag_version(actor=who, version=two[0], name="gold")[1] is False
    assert AuditRecord.objects.filter(action="dataset.tag").count() == 1


def test_a_tag_moves_only_when_told(two, who, project):
    tag_version(actor=who, version=two[0], name="gold")
    with pytest.raises(Conflict) as caught:
        tag_version(actor=who, version=two[1], name="gold")
    assert caught.value.code == "tag_exists"
    tag_version(actor=who, version=two[1], name="gold", move=True)
    assert get_version(who, project, "wti-daily", "gold").pk == two[1].pk


def test_a_tag_is_taken_away(two, who):
    tag_version(actor=who, version=two[0], name="gold")
    with pytest.raises(NotFound):
        remove_version_tag(actor=who, version=two[1], name="gold")
    remove_version_tag(actor=who, version=two[0], name="gold")
    assert not VersionTag.objects.exists()


WRONG_NAMES = ["", "7", "v7", "abcdef0", "a" * 64, "Gold", "a b", "../x", "ä", "-x", "x" * 61]


def test_wrong_names_are_refused(two, who):
    codes = {}
    for name in WRONG_NAMES:
        with pytest.raises(Invalid) as caught:
            tag_version(actor=who, version=two[0], name=name)
        codes[name] = caught.value.code
    assert codes == dict.fromkeys(WRONG_NAMES, "bad_tag")


def test_who_may(two, actor_for, viewer, stranger):
    with pytest.raises(Refused):
        tag_version(actor=actor_for(viewer), version=two[0], name="gold")
    with pytest.raises(NotFound):
        tag_version(actor=actor_for(stranger), version=two[0], name="gold")

"""A file with a marked column leaves by Git LFS for a named purpose only, by its ticket and by a token."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.personal_data.services import mark_column
from apps.platform.audit.models import AuditRecord
from tests.apps.data.repositories.conftest import TABLE

pytestmark = pytest.mark.django_db(transaction=True)
OID = hashlib.sha256(TABLE).hexdigest()


@pytest.fixture
def mark(added, dataset, engineer, actor_for):
    added({"wti.csv": TABLE}, columns=[{"name": name, "dtype": "string"} for name in ("day", "close")])
    return mark_column(
        actor=actor_for(engineer),
        dataset=dataset,
        column="close",
        category="phone",
        purpose="Shift planning",
        legal_basis="contract",
        retain_until=timezone.localdate() + timedelta(days=30),
    )


def test_without_a_purpose_it_is_refused(client, asker, engineer, viewer, mark):
    answers = {}
    for person in (engineer, viewer):
        batch = asker(person).batch("download", (OID, len(TABLE)))
        href = batch.json()["objects"][0]["actions"]["download"]["href"].removeprefix("http://testserver")
        for purpose in ("", "Shift planning"):
            answer = client.get(href, headers={"X-Purpose": purpose})
            answers[person.username, purpose] = answer.status_code
    assert answers == {
        ("engineer", ""): 403,
        ("engineer", "Shift planning"): 200,
        ("viewer", ""): 403,
        ("viewer", "Shift planning"): 403,
    }
    uses = AuditRecord.objects.filter(action="personal_data.use")
    assert list(uses.filter(result="done").values_list("actor", "object_id")) == [("engineer", OID)]
    by_token = asker(engineer).get(f"/info/lfs/objects/{OID}")
    assert (by_token.status_code, b"purpose" in by_token.content) == (403, True)

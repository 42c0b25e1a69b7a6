"""A record: canonical text first, copies that say the same, whatever it is given."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db.models import F

from apps.core.canonical import encode_canonical_json
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.record_body import build_column_copies, convert_value
from apps.platform.audit.sealer import run_sealer_round
from apps.platform.audit.services import record
from apps.platform.audit.verification import examine

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_the_body_holds_everything_and_is_canonical(somebody, project):
    row = record(
        actor=somebody.with_job(5), action="project.rename", obj=project, reason="typo",
        before={"name": "Demo"}, after={"name": "Demos"}, digests={"spec": "ab" * 32},
    )  # fmt: skip
    row.refresh_from_db()
    facts = json.loads(row.body)
    assert row.body == encode_canonical_json(facts)
    assert facts["actor"] == {"kind": "user", "label": "somebody", "user": 7, "service_account": None, "token": None}
    assert (facts["address"], facts["request"], facts["job"]) == ("192.0.2.7", "r-7", 5)
    assert (facts["project"], facts["object"]) == (project.pk, {"type": "project", "id": str(project.pk)})
    assert (facts["before"], facts["after"], facts["result"]) == ({"name": "Demo"}, {"name": "Demos"}, "done")
    assert facts["digests"] == {"spec": "ab" * 32}
    assert datetime.strptime(facts["at"], "%Y-%m-%dT%H:%M:%S.%f%z") == row.at


@pytest.mark.parametrize("text", ["a\x00b", "half \ud800 pair", "中文" * 60, "'; DROP TABLE x --", "é\u2028"])
def test_any_text_is_kept_sealed_and_verified(somebody, dispatcher, text):
    row = record(actor=somebody, action="thing.change", object_type="thing", object_id=text, reason=text)
    run_sealer_round(dispatcher)
    assert examine().finding is None
    row = AuditRecord.objects.get(pk=row.pk)
    assert json.loads(row.body)["reason"] == text
    assert len(row.object_id) <= 80


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
        (float("nan"), "nan"),
        (True, True),
        ({"a": [float("inf"), {"b": (1, 2)}]}, {"a": ["inf", {"b": [1, 2]}]}),
        ({3, 1}, [1, 3]),
        ({"n": F("n"), "m": 1}, {"m": 1}),
    ],
)
def test_plain(value, shown):
    assert convert_value(value) == shown


@pytest.mark.parametrize("body", [{}, {"v": 1}, {"actor": None}])
def test_what_is_no_body_has_no_copies(body):
    with pytest.raises((KeyError, TypeError)):
        build_column_copies(body)

"""The list of approvals: orders, what narrows it, its file, and that the auditor's reading of it is recorded."""

from __future__ import annotations

import csv
import io

import pytest

from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.services

LIST = "/p/demo/approvals"


def table(client, query: str) -> list[list[str]]:
    body = b"".join(client.get(f"{LIST}?format=csv&{query}").streaming_content)
    return list(csv.reader(io.StringIO(body.decode(), newline="")))


def test_a_file_is_of_the_tab_that_is_shown(ask, decide, approver, web, engineer):
    first, _second = ask(subject_id=1, title="The first"), ask(subject_id=2, title="=The second")
    decide(approver, first)
    client = web(engineer)
    assert [row[0] for row in table(client, "show=pending&columns=number")[1:]] == ["'=The second"]
    assert [row[0] for row in table(client, "show=decided&sort=-ended")[1:]] == ["The first"]
    assert table(client, "show=pending&title=nothing")[1:] == []


def test_the_end_stands_only_with_what_has_ended(ask, decide, approver, web, engineer):
    decide(approver, ask())
    ask()
    client = web(engineer)
    assert "ended" in table(client, "show=decided")[0]
    assert "ended" not in table(client, "show=pending")[0]
    assert "ended" in table(client, "show=pending&columns=ended")[0]


@pytest.mark.parametrize("query", ["?sort=given", "?columns=wages", "?asked_after=soon"])
def test_nonsense_is_said(ask, web, engineer, query):
    ask()
    assert web(engineer).get(LIST + query).status_code == 422


def test_what_the_auditor_takes_away_is_recorded_twice(ask, web, auditor):
    ask()
    assert len(table(web(auditor), "show=pending")) == 2
    assert AuditRecord.objects.filter(action="approval.view").count() == 1
    assert AuditRecord.objects.filter(action="list.export").count() == 1

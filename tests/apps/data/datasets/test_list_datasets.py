"""The lists of datasets and of the versions of one: orders, what narrows them, and their files."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.datasets.models import Dataset

pytestmark = pytest.mark.services

LIST = "/p/demo/data"


@pytest.fixture
def table(web, engineer):
    client = web(engineer)

    def ask(where: str) -> list[list[str]]:
        body = b"".join(client.get(where).streaming_content)
        return list(csv.reader(io.StringIO(body.decode(), newline="")))

    return ask


def test_a_new_version_puts_its_dataset_first(table, added, held, dataset, project):
    Dataset.objects.create(project=project, name="other", created_by="engineer")
    Dataset.objects.filter(pk=dataset.pk).update(touched_at=timezone.now() - timedelta(days=9))
    assert [row[0] for row in table(f"{LIST}?format=csv&sort=-changed")[1:]] == ["other", "wti-daily"]
    assert [row[0] for row in table(f"{LIST}?format=csv&changed_after=7d")[1:]] == ["other"]
    added({"table.csv": held()})
    assert [row[0] for row in table(f"{LIST}?format=csv&sort=-changed")[1:]] == ["wti-daily", "other"]


def test_a_file_of_versions(table, added, held):
    added({"a.csv": held()}, note="=first")
    added({"b.csv": held(b"a\n1\n")}, rows=None)
    found = table(f"{LIST}/wti-daily?format=csv&columns=rows,size,note&sort=version")
    assert found == [["version", "rows", "size", "note"], ["1", "3", "54", "'=first"], ["2", "", "4", ""]]
    assert [row[0] for row in table(f"{LIST}/wti-daily?format=csv&sort=-rows")[1:]] == ["1"]
    assert [row[0] for row in table(f"{LIST}/wti-daily?format=csv&sort=size")[1:]] == ["2", "1"]
    assert [row[0] for row in table(f"{LIST}/wti-daily?format=csv&note=FIRST")[1:]] == ["1"]


@pytest.mark.parametrize("query", ["?sort=size", "?columns=wages", "?changed_after=soon"])
def test_nonsense_is_said(web, engineer, dataset, query):
    assert web(engineer).get(LIST + query).status_code == 422


def test_a_file_misses_no_share_that_a_page_would_leave_for_later(table, added, held, monkeypatch):
    monkeypatch.setattr("apps.data.datasets.presenters.MAX_REPORTS_READ", 0)
    read = []
    monkeypatch.setattr("apps.data.datasets.presenters.read_share", lambda digest: read.append(digest) or 0.25)
    report = held(b'{"totals": {}}')
    added({"a.csv": held()}, quality=report)
    assert table(f"{LIST}/wti-daily?format=csv&columns=missing")[1] == ["1", "0.25"]
    assert read == [report.pk]

"""A list as a CSV file: what spreadsheets and programs read, and what is left in the trail."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.utils import timezone

from apps.platform.audit.models import AuditRecord
from apps.platform.preferences.models import SavedView


def rows_of(answer) -> list[list[str]]:
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))


@pytest.fixture
def members(web, engineer, project):
    return lambda query="": web(engineer).get(f"/p/demo/members?format=csv{query}")


def test_a_file_has_the_columns_that_are_shown(members, viewer):
    answer = members("&columns=roles&sort=-name")
    assert rows_of(answer) == [["name", "roles"], ["viewer", "viewer"], ["engineer", "engineer"]]
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = f"members-demo-{timezone.localdate().isoformat()}.csv"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_lines_end_and_cells_are_quoted_as_the_standard_has_it(web, engineer, project):
    engineer.name = '=Li, "Chen" 陈立'
    engineer.save()
    answer = web(engineer).get("/p/demo/members?format=csv&columns=full_name")
    text = b"".join(answer.streaming_content).decode()
    assert text == 'name,full_name\r\nengineer,"\'=Li, ""Chen"" 陈立"\r\n'


def test_taking_a_list_away_is_recorded(members, project, engineer):
    rows_of(members("&role=engineer&cursor="))
    body = json.loads(AuditRecord.objects.get(action="list.export").body)
    assert (body["object"], body["project"]) == ({"type": "list", "id": "members"}, project.pk)
    assert body["after"]["query"] == "role=engineer"
    assert body["after"]["columns"] == ["name", "kind", "state", "roles"]


def test_nonsense_is_an_error_and_not_an_empty_file(members):
    assert members("&role=king").status_code == 422
    assert members("&sort=wages").status_code == 422
    assert not AuditRecord.objects.filter(action="list.export").exists()


def test_a_default_view_does_not_come_between(members, engineer, project):
    SavedView.objects.create(user=engineer, project=project, listing="members", name="x", query="q=z", is_default=True)
    assert len(rows_of(members())) == 2


def test_the_trail_is_a_list_too(web, engineer, project, members):
    rows_of(members())
    found = rows_of(web(engineer).get("/audit?format=csv&action=list.export&columns=action,object_id"))
    assert found[0] == ["seq", "action", "object_id"]
    assert [row[1:] for row in found[1:]] == [["list.export", "members"]]
    assert web(engineer).get("/audit?format=csv&result=nothing").status_code == 422
    assert web(engineer).get("/audit?format=xlsx").status_code == 422


def test_a_view_of_the_trail_is_kept_and_opens_it(web, engineer, project):
    client = web(engineer)
    SavedView.objects.create(user=engineer, listing="audit", name="No", query="result=refused", is_default=True)
    assert client.get("/audit").url == "/audit?result=refused"
    assert 'value="audit"' in client.get("/audit?view=all").content.decode()

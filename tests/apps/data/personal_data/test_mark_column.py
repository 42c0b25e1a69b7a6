"""Marking a column: who may, what is refused, and what the page and the lists show of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Invalid, Refused
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.services import mark_column, unmark_column
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_an_engineer_marks_and_only_an_approver_changes_or_removes(
    dataset, engineer, approver, viewer, actor_for, mark_values
):
    as_engineer, as_approver = actor_for(engineer), actor_for(approver)
    with pytest.raises(Refused):
        mark_column(actor=actor_for(viewer), dataset=dataset, **mark_values)
    mark = mark_column(actor=as_engineer, dataset=dataset, **mark_values)
    later = mark_values | {"purpose": "Anything"}
    with pytest.raises(Refused):
        mark_column(actor=as_engineer, dataset=dataset, **later)
    with pytest.raises(Refused):
        unmark_column(actor=as_engineer, mark=mark, reason="I want it.")
    assert mark_column(actor=as_approver, dataset=dataset, **later).purpose == "Anything"
    with pytest.raises(Invalid):
        unmark_column(actor=as_approver, mark=mark, reason=" ")
    unmark_column(actor=as_approver, mark=mark, reason="Invented numbers.")
    actions = AuditRecord.objects.filter(action__startswith="personal_data.").order_by("seq", "id")
    assert sorted(actions.values_list("action", flat=True)) == [
        "personal_data.mark", "personal_data.mark", "personal_data.unmark",
    ]  # fmt: skip
    assert not PersonalColumn.objects.exists()


def test_the_same_mark_again_is_not_recorded(dataset, approver, actor_for, mark_values):
    actor = actor_for(approver)
    marks = [mark_column(actor=actor, dataset=dataset, **mark_values) for _ in range(2)]
    assert marks[0].pk == marks[1].pk
    assert AuditRecord.objects.filter(action="personal_data.mark").count() == 1


def test_wrong_values_name_their_field(dataset, engineer, actor_for, mark_values):
    yesterday = timezone.localdate() - timedelta(days=1)
    wrong = {
        "column": "no such",
        "category": "shoe size",
        "legal_basis": "none",
        "purpose": "ab",
        "retain_until": yesterday,
    }
    fields = []
    for name, value in wrong.items():
        with pytest.raises(Invalid) as error:
            mark_column(actor=actor_for(engineer), dataset=dataset, **(mark_values | {name: value}))
        fields.append(error.value.field)
    assert fields == list(wrong)
    assert not PersonalColumn.objects.exists()


def test_rest_marks_suggests_lists_and_removes(api, dataset, engineer, approver, auditor, mark_values, web):
    client = api(engineer)
    base = f"/api/v1/projects/{dataset.project.slug}/personal-data"
    suggestions = f"/api/v1/projects/{dataset.project.slug}/datasets/people/personal-data/suggestions"
    found = {row["column"]: row["category"] for row in client.get(suggestions).json()}
    assert found == {"name": "name", "phone": "phone", "mail": "email"}
    body = {**mark_values, "dataset": "people", "retain_until": mark_values["retain_until"].isoformat()}
    assert client.post(base, body, format="json").status_code == 201
    assert "phone" not in {row["column"] for row in client.get(suggestions).json()}
    rows = client.get(base).json()["items"]
    assert [(row["dataset"], row["column"], row["category"]) for row in rows] == [("people", "phone", "phone")]
    assert client.delete(f"{base}/{rows[0]['id']}", {"reason": "x"}, format="json").status_code == 403
    assert client.get(f"{base}?retention=never").status_code == 422
    assert web(auditor).get("/api/v1/personal-data").status_code == 200
    assert web(engineer).get("/api/v1/personal-data").status_code == 403
    assert api(approver).delete(f"{base}/{rows[0]['id']}", {"reason": "x"}, format="json").status_code == 204


def test_pages_mark_and_export(web, dataset, engineer, approver, auditor, stranger, mark_values):
    page = f"/p/{dataset.project.slug}/personal-data"
    answer = web(engineer).get(f"{page}?dataset=people")
    assert b"3 of 3 previewed cells" in answer.content
    sent = {**mark_values, "dataset": "people", "retain_until": mark_values["retain_until"].isoformat()}
    wrong = web(engineer).post(page, sent | {"retain_until": "soon"})
    assert (wrong.status_code, b"is not a day" in wrong.content) == (422, True)
    assert web(engineer).post(page, sent).status_code == 302
    assert b"Shift planning" in web(engineer).get(page).content
    text = b"".join(web(auditor).get("/personal-data?format=csv").streaming_content).decode()
    assert text.splitlines()[1].startswith(f"phone,{dataset.project.slug},people,phone,Shift planning,contract,")
    assert b"accounts.User" in web(auditor).get("/personal-data").content
    assert b"accounts.User" in web(auditor).get("/personal-data/tables.csv").content
    assert web(engineer).get("/personal-data").status_code == 403
    assert web(stranger).get(page).status_code == 404
    pk = PersonalColumn.objects.get().pk
    assert web(engineer).post(page, {"unmark": pk, "reason": "x"}).status_code == 403
    assert web(approver).post(page, {"unmark": pk, "reason": "Invented."}).status_code == 302
    assert not PersonalColumn.objects.exists()

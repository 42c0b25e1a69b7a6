"""Comments by REST: added, listed, edited and deleted by their author, with a trace."""

from __future__ import annotations

import pytest

from apps.platform.audit.models import AuditRecord
from apps.platform.comments.models import Comment

pytestmark = pytest.mark.django_db


def test_every_object_is_commented_on_and_lists_its_own(add, client, where, targets):
    for kind, pk in targets:
        answer = add(f"about {kind}", kind, pk)
        assert (answer.status_code, answer.json()["author"]) == (201, "engineer")
    for kind, pk in targets:
        rows = client.get(where(), {"object_type": kind, "object_id": pk}).json()["items"]
        assert [row["text"] for row in rows] == [f"about {kind}"]


def test_it_is_edited_and_deleted_with_a_trace(add, client, where):
    pk = add("first").json()["id"]
    edited = client.patch(where(f"/{pk}"), {"text": "second"}, format="json").json()
    assert (edited["text"], edited["edited_at"] is not None) == ("second", True)
    assert client.patch(where(f"/{pk}"), {"text": "second"}, format="json").status_code == 200
    assert client.delete(where(f"/{pk}")).status_code == 204
    assert client.get(where(f"/{pk}")).json()["text"] == ""
    assert client.patch(where(f"/{pk}"), {"text": "third"}, format="json").json()["error"]["code"] == "comment_deleted"
    assert client.delete(where(f"/{pk}")).status_code == 409
    records = AuditRecord.objects.filter(action__startswith="comment.").order_by("pk")
    assert list(records.values_list("action", flat=True)) == ["comment.add", "comment.edit", "comment.delete"]


@pytest.mark.parametrize(
    ("text", "field"), [("", "text"), (" \r\n ", "text"), ("x" * 4001, "text")], ids=["empty", "blank", "long"]
)
def test_a_bad_text_is_refused(add, text, field):
    answer = add(text)
    assert (answer.status_code, answer.json()["error"]["field"].strip("/")) == (422, field)
    assert not Comment.objects.exists()


def test_what_cannot_be_commented_on(add, client, where):
    assert add("x", "job", "1").json()["error"]["field"].strip("/") == "object_type"
    for kind, pk in (("run", "0" * 32), ("approval", "x"), ("datasetversion", "9" * 30), ("modelversion", "-1")):
        assert add("x", kind, pk).status_code == 404, kind
    assert client.get(where("/999")).status_code == 404


def test_an_object_has_a_limit(add, monkeypatch):
    monkeypatch.setattr("apps.platform.comments.services.MAX_COMMENTS", 1)
    assert (add("one").status_code, add("two").json()["error"]["code"]) == (201, "too_many_comments")


def test_another_s_comment_stays_and_a_viewer_only_reads(add, api, make_token, approver, viewer, where, run):
    pk = add("mine").json()["id"]
    other = api(make_token(approver, scopes=["read", "runs:write"])[0])
    assert other.patch(where(f"/{pk}"), {"text": "yours"}, format="json").status_code == 403
    assert other.delete(where(f"/{pk}")).status_code == 403
    reader = api(make_token(viewer, scopes=["read", "runs:write"])[0])
    assert reader.get(where(), {"object_type": "run", "object_id": run.pk}).status_code == 200
    body = {"object_type": "run", "object_id": run.pk, "text": "x"}
    assert reader.post(where(), body, format="json").status_code == 403


def test_another_project_sees_nothing(add, api, make_token, stranger, other_project, where, targets):
    pk = add("mine").json()["id"]
    outsider = api(make_token(stranger, other_project, scopes=["read", "runs:write"])[0])
    inside = f"/api/v1/projects/{other_project.slug}/comments"
    assert outsider.get(where(f"/{pk}")).status_code == 404
    assert outsider.get(f"{inside}/{pk}").status_code == 404
    for kind, key in targets:
        assert outsider.get(inside, {"object_type": kind, "object_id": key}).status_code == 404
        body = {"object_type": kind, "object_id": key, "text": "x"}
        assert outsider.post(inside, body, format="json").status_code == 404


def test_a_label_hides_the_comments_too(add, client, where, dataset_version):
    pk = add("secret", "datasetversion", str(dataset_version.pk)).json()["id"]
    type(dataset_version.dataset).objects.update(security_label=2)
    assert client.get(where(f"/{pk}")).status_code == 404
    query = {"object_type": "datasetversion", "object_id": dataset_version.pk}
    assert client.get(where(), query).status_code == 404

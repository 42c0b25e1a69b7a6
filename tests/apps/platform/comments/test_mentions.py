"""Mentions: who is told, what stays a text, and the names that are offered."""

from __future__ import annotations

import pytest
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.platform.comments.mentions import list_names, split_mentions
from apps.platform.comments.models import Comment
from apps.platform.notices.models import Notice
from tests.conftest import member

pytestmark = pytest.mark.django_db


def list_told():
    return sorted(Notice.objects.filter(kind="comment.mentioned").values_list("recipient__username", flat=True))


def test_a_member_who_is_named_is_told(add, approver, viewer, run):
    answer = add("@approver and @VIEWER. Not @nobody, me@approver, @engineer")
    assert list_told() == ["approver", "viewer"]
    notice = Notice.objects.get(recipient=approver)
    assert notice.path == f"/p/demo/runs/{run.pk}#comment-{answer.json()['id']}"
    assert Comment.objects.get().text.startswith("@approver and @VIEWER.")


def test_an_edit_tells_only_who_is_new(add, client, where, approver, viewer):
    pk = add("@approver").json()["id"]
    client.patch(where(f"/{pk}"), {"text": "@approver @viewer"}, format="json")
    assert list_told() == ["approver", "viewer"]


def test_who_may_not_see_the_object_is_not_told(add, stranger, approver, dataset_version, engineer):
    type(engineer).objects.filter(pk=engineer.pk).update(clearance=2)
    type(dataset_version.dataset).objects.update(security_label=2)
    add("@stranger @approver", "datasetversion", str(dataset_version.pk))
    assert list_told() == []


def test_names_in_a_text():
    assert list_names("a@b.c @x.y. @@z (@w) @周工1") == ["x.y.", "x.y", "w", "周工1"]
    pieces = split_mentions("hi @ann. and @bob", ["Ann"])
    assert pieces == [("hi ", False), ("@ann", True), (". and @bob", False)]
    assert split_mentions("", []) == []
    assert len(list_names("@" + "a" * 50_000 + " @b" * 1000)) <= 42


def test_names_are_offered_to_whoever_may_write(web, engineer, viewer, stranger, project):
    member(project, "enid", ProjectRole.VIEWER)
    where = f"/p/{project.slug}/comments/people"
    client = web(engineer)
    names = [person["username"] for person in client.get(where, {"q": "EN"}).json()["people"]]
    assert names == ["engineer", "enid"]
    type(engineer).objects.filter(username="enid").update(expires_at=timezone.now())
    assert [person["username"] for person in client.get(where, {"q": "en"}).json()["people"]] == ["engineer"]
    assert client.get(where, {"q": "x" * 99}).json() == {"people": []}
    assert client.get(where, {"q": "\x00"}).json() == {"people": []}
    assert web(viewer).get(where).status_code == 403
    assert web(stranger).get(where).status_code == 404

"""The comments on the pages of runs, versions and approvals, and their forms."""

from __future__ import annotations

import pytest

from apps.platform.comments.models import Comment

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(project, run, approval, dataset_version, model_version):
    """{type: its page}"""
    head = f"/p/{project.slug}"
    return {
        "run": f"{head}/runs/{run.pk}",
        "datasetversion": f"{head}/data/load/1",
        "modelversion": f"{head}/models/plant/1",
        "approval": f"{head}/approvals/{approval.pk}",
    }


@pytest.fixture
def post(web, engineer, project):
    client = web(engineer)
    return lambda tail="", **form: client.post(f"/p/{project.slug}/comments{tail}", form)


def test_each_page_shows_its_comments(web, viewer, post, pages, targets):
    client = web(viewer)
    for kind, pk in targets:
        answer = post(object_type=kind, object_id=pk, text=f"<b>{kind}</b> @engineer\nsecond line")
        assert answer.headers["Location"] == f"{pages[kind]}#comment-{Comment.objects.latest('pk').pk}"
        text = client.get(pages[kind]).content.decode()
        assert f"&lt;b&gt;{kind}&lt;/b&gt; <b" in text
        assert ("second line" in text, "Add comment" in text) == (True, False)


def test_a_refused_text_stays_typed(post, run):
    answer = post(object_type="run", object_id=run.pk, text="kept " + "x" * 4000)
    text = answer.content.decode()
    assert (answer.status_code, "kept xxx" in text, 'role="alert"' in text) == (422, True, True)


def test_one_s_own_is_edited_and_deleted(web, engineer, approver, post, run, pages):
    post(object_type="run", object_id=run.pk, text="first")
    pk = Comment.objects.get().pk
    assert post(f"/{pk}", text="").status_code == 422
    assert post(f"/{pk}", text="second").status_code == 302
    page = web(engineer).get(pages["run"]).content.decode()
    assert ("second" in page, "edited" in page, f"/comments/{pk}" in page) == (True, True, True)
    other = web(approver)
    assert f'action="/p/demo/comments/{pk}"' not in other.get(pages["run"]).content.decode()
    assert other.post(f"/p/demo/comments/{pk}", {"do": "delete"}).status_code == 403
    assert post(f"/{pk}", do="delete").status_code == 302
    page = web(engineer).get(pages["run"]).content.decode()
    assert ("deleted this comment" in page, "second" in page) == (True, False)
    assert post(f"/{pk}", text="third").status_code == 302


def test_older_comments_are_on_another_page(web, viewer, post, run, pages, monkeypatch):
    monkeypatch.setattr("apps.platform.comments.queries.PAGE_SIZE", 2)
    for text in ("oldest", "second", "newest"):
        post(object_type="run", object_id=run.pk, text=text)
    client, older = web(viewer), f"?comments_before={Comment.objects.get(text='second').pk}"
    page = client.get(pages["run"]).content.decode()
    assert ("second" in page, "oldest" in page, f'href="{older}#comments"' in page) == (True, False, True)
    page = client.get(pages["run"] + older).content.decode()
    assert ("oldest" in page, "second" in page, "Older comments" in page) == (True, False, False)
    assert "newest" in client.get(f"{pages['run']}?comments_before=x").content.decode()


def test_the_auditor_reads_those_of_approvals_alone(web, auditor, post, pages, run, approval):
    post(object_type="approval", object_id=approval.pk, text="why we wait")
    post(object_type="run", object_id=run.pk, text="of a run")
    client = web(auditor)
    page = client.get(pages["approval"]).content.decode()
    assert ("why we wait" in page, "Add comment" in page) == (True, False)
    assert client.get(pages["run"]).status_code in (403, 404)
    own = Comment.objects.get(object_type="run")
    assert client.post(f"/p/demo/comments/{own.pk}", {"text": "x"}).status_code in (403, 404)


def test_a_stranger_posts_nowhere(web, stranger, project, run, other_project):
    client = web(stranger)
    form = {"object_type": "run", "object_id": run.pk, "text": "x"}
    assert client.post(f"/p/{project.slug}/comments", form).status_code == 404
    assert client.post(f"/p/{other_project.slug}/comments", form).status_code == 404
    assert not Comment.objects.exists()

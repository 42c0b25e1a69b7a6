import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.jobs.models import Job
from apps.jobs.states import JobState


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/jobs{tail}"


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)  # the first visit renews the session
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


def test_the_list_costs_the_same_for_five_and_fifty(engineer, web, submit, page):
    client = web(engineer)
    for _ in range(5):
        submit()
    few = queries_of(client, page())
    for _ in range(45):
        submit()
    assert queries_of(client, page()) == few < 20


@pytest.mark.parametrize("tab", ["", "/log", "/spec", "/outputs", "/lineage", "/audit"])
@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "failed"])
def test_every_tab_in_every_state(tab, state, engineer, web, submit, claim, succeed, fail, page):
    job = submit()
    if state != "queued":
        job = claim()
    if state in ("succeeded", "failed"):
        {"succeeded": succeed, "failed": fail}[state](job)
    assert queries_of(web(engineer), page(f"/{job.pk}{tab}")) < 25


def test_a_failure_stands_beside_its_remedy(engineer, web, running, fail, page):
    fail(running)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "It broke." in text
    assert page(f"/{running.pk}/retry") in text


def test_a_queued_job_says_why_it_waits(engineer, web, submit, page):
    assert "No node that serves the queue" in text_of(web(engineer).get(page(f"/{submit().pk}")))


@pytest.mark.parametrize(("who", "status"), [("stranger", 404), ("sysadmin", 403), ("auditor", 403)])
def test_who_is_no_member_sees_nothing(who, status, request, web, submit, page):
    job = submit()
    client = web(request.getfixturevalue(who))
    assert {client.get(page(tail)).status_code for tail in ("", f"/{job.pk}", f"/{job.pk}/log")} == {status}


@pytest.mark.parametrize("action", ["cancel", "retry", "priority"])
def test_a_viewer_has_no_button_and_is_refused(action, viewer, web, submit, page):
    job = submit()
    client = web(viewer)
    assert page(f"/{job.pk}/{action}") not in text_of(client.get(page(f"/{job.pk}")))
    assert client.post(page(f"/{job.pk}/{action}"), {"priority": "5"}).status_code == 403
    job.refresh_from_db()
    assert (job.state, job.priority) == (JobState.QUEUED, 0)


def test_cancel_and_retry(engineer, web, submit, page):
    job, client = submit(), web(engineer)
    assert client.post(page(f"/{job.pk}/cancel"), {"reason": "a typo"}).url == page(f"/{job.pk}")
    job.refresh_from_db()
    assert (job.state, job.cancel_reason) == (JobState.CANCELLED, "a typo")
    assert "ended already" in text_of(client.post(page(f"/{job.pk}/cancel"), follow=True))
    client.post(page(f"/{job.pk}/retry"))
    assert Job.objects.get().state == JobState.QUEUED


@pytest.mark.parametrize(("sent", "kept"), [("7", 7), ("", 0), ("x", 0), ("101", 0), ("-100", -100)])
def test_priority(sent, kept, engineer, web, submit, page):
    job = submit()
    assert web(engineer).post(page(f"/{job.pk}/priority"), {"priority": sent}).status_code == 302
    assert Job.objects.get(pk=job.pk).priority == kept


def test_filters_narrow_and_nonsense_is_said(engineer, web, submit, page):
    submit(name="one"), submit(name="two")
    client = web(engineer)
    text = text_of(client.get(page("?name=tw")))
    assert "two" in text
    assert ">one" not in text
    assert client.get(page("?state=asleep")).status_code == 422
    assert client.get(page("?cursor=nonsense")).status_code == 400


def test_names_are_escaped(engineer, web, submit, page):
    job = submit(name="<script>alert(1)</script>")
    client = web(engineer)
    for tail in ("", f"/{job.pk}", f"/{job.pk}/audit"):
        assert "<script>alert" not in text_of(client.get(page(tail)))


def test_the_log_is_searched_whole(engineer, web, running, say, page):
    say(running, *(f"step {n}" for n in range(600)))
    say(running, "the <b>needle</b>", level="warning")
    client = web(engineer)
    found = text_of(client.get(page(f"/{running.pk}/log?q=NEEDLE")))
    assert "the &lt;b&gt;needle&lt;/b&gt;" in found
    assert "step 1<" not in found
    assert "the &lt;b&gt;needle" in text_of(client.get(page(f"/{running.pk}/log?level=warning")))
    assert 'id="L51"' in text_of(client.get(page(f"/{running.pk}/log?line=51")))


def test_a_failed_job_shows_where_a_retry_would_go_on(engineer, web, running, keep_checkpoint, fail, page):
    keep_checkpoint(running, 1200)
    fail(running)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "The next attempt goes on from here." in text
    assert '<dd class="n">1,200</dd>' in text

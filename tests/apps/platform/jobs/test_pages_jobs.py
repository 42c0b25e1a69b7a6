import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.platform.jobs import queries, services, tabs
from apps.platform.jobs.models import Job
from apps.platform.jobs.serializers import read_submission
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from apps.platform.nodes.models import Node


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


def copies(job: Job, count: int) -> None:
    """Insert so many rows like this one."""
    columns = {
        f.attname: getattr(job, f.attname) for f in Job._meta.fields if f.attname not in ("id", "idempotency_key")
    }
    Job.objects.bulk_create(Job(**columns) for _ in range(count))


def test_the_list_costs_the_same_for_five_and_fifty(engineer, web, submit, page):
    client = web(engineer)
    for _ in range(5):
        submit()
    few = queries_of(client, page())
    copies(Job.objects.latest("pk"), 45)
    assert queries_of(client, page()) == few < 20


def test_on_a_phone_the_row_head_repeats_name_and_state(engineer, web, submit, page):
    submit(name="demo")
    client = web(engineer)
    for columns, repeated in (("name,state", ["demo", "Queued"]), ("state", ["Queued"]), ("kind", [])):
        row = text_of(client.get(page(f"?columns={columns}"))).partition("<tbody>")[2].partition("</tr>")[0]
        head, _, cells = row.partition("</th>")
        assert re.findall(r'<span class="phone">(?:<span[^>]*><svg.*?</svg><span>)?(\w+)', head) == repeated
        assert cells.count('<td class="wide"') == len(repeated)


def test_on_a_phone_an_attempt_is_called_so(engineer, web, running, page):
    assert 'data-l="Attempt">1</th>' in text_of(web(engineer).get(page(f"/{running.pk}")))


def test_every_tab_opens_in_every_state_with_few_queries(engineer, web, submit, claim, succeed, fail, page):
    jobs = {}
    for state, end in (("succeeded", succeed), ("failed", fail), ("running", None), ("queued", None)):
        submit()
        jobs[state] = Job.objects.latest("pk") if state == "queued" else claim()
        if end:
            end(jobs[state])
    client, wrong = web(engineer), {}
    client.get(page())  # the first visit renews the session
    for state, job in jobs.items():
        job.refresh_from_db()
        assert job.state == state
        for tab in ("", "/log", "/metrics", "/spec", "/outputs", "/lineage", "/audit"):
            with CaptureQueriesContext(connection) as queries:
                status = client.get(page(f"/{job.pk}{tab}")).status_code
            if status != 200 or len(queries) >= 20:
                wrong[state, tab] = status, len(queries)
    assert wrong == {}


def test_a_failure_stands_beside_its_remedy(engineer, web, running, fail, page):
    fail(running)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "It broke." in text
    assert page(f"/{running.pk}/retry") in text


def test_a_queued_job_says_why_it_waits(engineer, web, submit, page):
    assert "No node that serves the queue" in text_of(web(engineer).get(page(f"/{submit().pk}")))


def test_users_outside_the_project_cannot_read_jobs(stranger, sysadmin, auditor, web, submit, page):
    job = submit()
    for user, status in ((stranger, 404), (sysadmin, 403), (auditor, 403)):
        client = web(user)
        statuses = {tail: client.get(page(tail)).status_code for tail in ("", f"/{job.pk}", f"/{job.pk}/log")}
        assert set(statuses.values()) == {status}, (user.username, statuses)


def test_viewers_have_no_buttons_and_cannot_write(viewer, web, submit, page):
    job = submit()
    client = web(viewer)
    text = text_of(client.get(page(f"/{job.pk}")))
    for action in ("cancel", "retry", "priority"):
        assert page(f"/{job.pk}/{action}") not in text
        assert client.post(page(f"/{job.pk}/{action}"), {"priority": "5"}).status_code == 403, action
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


def test_priority(engineer, web, submit, page):
    client, stored = web(engineer), {}
    expected = {"7": 7, "": 0, "x": 0, "101": 0, "-100": -100}
    for value in expected:
        job = submit()
        assert client.post(page(f"/{job.pk}/priority"), {"priority": value}).status_code == 302
        stored[value] = Job.objects.get(pk=job.pk).priority
    assert stored == expected


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


def test_a_failed_job_names_a_known_hardware_conflict_of_its_log(engineer, web, running, say, fail, page):
    say(running, "epoch 3", "RuntimeError: ... Error 802: system not yet initialized")
    assert "Known hardware conflict" not in text_of(web(engineer).get(page(f"/{running.pk}")))
    fail(running)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "<code>fabric-manager-missing</code>" in text
    assert "Install nvidia-fabricmanager of exactly the driver" in text


def test_a_failed_job_shows_where_a_retry_would_go_on(engineer, web, running, keep_checkpoint, fail, page):
    keep_checkpoint(running, 1200)
    fail(running)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "The next attempt resumes from here." in text
    assert '<dd class="n">1,200</dd>' in text


def test_the_end_of_the_log_is_complete_for_events_of_any_size(running, say):
    for n in range(75):
        say(running, f"one {n}")
    running.refresh_from_db()
    assert [line["number"] for line in queries.read_last_lines(running, 50)] == list(range(26, 76))
    say(running, *(f"many {n}" for n in range(300)))
    running.refresh_from_db()
    assert [line["number"] for line in queries.read_last_lines(running, 200)] == list(range(176, 376))


def test_a_long_log_costs_no_more_queries_than_a_short_one(engineer, web, running, say, page):
    client, counts = web(engineer), []
    for events in (12, 24):
        for n in range(events):
            say(running, *(f"step {n} {m}" for m in range(50)))
        counts.append({tab: queries_of(client, page(f"/{running.pk}{tab}")) for tab in ("", "/log", "/metrics")})
    assert counts[0] == counts[1]
    assert max(counts[1].values()) < 20


def test_a_line_of_the_log_has_an_address_of_its_own(engineer, web, running, say, page):
    client = web(engineer)
    say(running, *(f"step {n}" for n in range(900)))
    log = page(f"/{running.pk}/log")
    assert f'href="{log}?line=7#L7"' in text_of(client.get(log + "?line=7"))
    assert f'href="{log}?line=900#L900"' in text_of(client.get(page(f"/{running.pk}")))


def test_the_first_error_is_found_wherever_it_is(engineer, web, running, say, page):
    client = web(engineer)
    say(running, *(f"step {n}" for n in range(600)))
    say(running, "it broke", level="error")
    say(running, *(f"step {n}" for n in range(600)))
    log = page(f"/{running.pk}/log")
    assert client.get(f"{log}/first").url == f"{log}?line=601#L601"
    assert client.get(f"{log}/first?level=nonsense").url == f"{log}?line=601#L601"


def test_a_log_without_errors_says_so(engineer, stranger, web, running, say, page):
    say(running, "fine")
    log = page(f"/{running.pk}/log")
    answer = web(engineer).get(f"{log}/first", follow=True)
    assert "No line matches. Every line was searched." in text_of(answer)
    assert web(stranger).get(f"{log}/first").status_code == 404


def test_levels_narrow_the_log(engineer, web, running, say, page):
    say(running, "odd", level="warning")
    say(running, "broken", level="error")
    text = text_of(web(engineer).get(page(f"/{running.pk}/log?level=error")))
    assert "broken" in text
    assert ">odd" not in text
    assert '<option value="error" selected>' in text


@pytest.mark.parametrize(("field", "primary"), [("/fail", "Clone and edit"), (None, "Queue again")])
def test_one_button_helps(field, primary, engineer, web, running, worker_actor, page):
    error = {"code": "broke", "message": "It broke.", "field": field, "limit": None, "hint": None}
    services.fail_attempt(actor=worker_actor, job=running, error=error, retry=False)
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert text.count("btn primary") == 1
    assert primary in text[text.index("btn primary") :][:200]


def test_what_an_attempt_used_stands_beside_what_was_asked(engineer, web, running, worker_actor, page):
    used = {"peak_memory_bytes": 33_000_000, "cpu_seconds": 2.0, "seconds": 4.0}
    services.report_events(actor=worker_actor, job=running, events=[("usage", used)])
    text = text_of(web(engineer).get(page(f"/{running.pk}")))
    assert "33.0 MB at most, of" in text
    assert "0.50 on average, of" in text


def test_a_waiting_job_links_what_it_waits_for(engineer, web, running, child_of, page):
    client = web(engineer)
    child = child_of(running)
    text = text_of(client.get(page(f"/{child.pk}")))
    why = text[text.index("Why it is queued") :]
    assert f'href="{page(f"/{running.pk}")}">#{running.pk} noop</a>' in why[: why.index("</section>")]
    follows = text_of(client.get(page(f"/{running.pk}")))
    assert f'href="{page(f"/{child.pk}")}">#{child.pk} noop</a>' in follows


def test_inputs_and_outputs_have_their_names_from_lineage(
    engineer, web, submit, artifact, claim, succeed, worker_actor, project, page
):
    """The same bytes may be in versions of other datasets, which are newer and were not taken."""
    job = submit(inputs=[InputSpec(slot="x", digest=artifact.pk)])
    here = End("job", str(job.pk))
    edges = [
        EdgeSpec.between(End("dataset_version", "7", label="raw v3"), here, "x"),
        EdgeSpec.between(here, End("dataset_version", "8", label="clean v1"), "note"),
    ]
    succeed(claim())
    record_edges(actor=worker_actor, project=project, edges=edges)
    client = web(engineer)
    for tab in ("", "/outputs"):
        text = text_of(client.get(page(f"/{job.pk}{tab}")))
        assert '/7">raw v3</a>' in text, tab
        assert '/8">clean v1</a>' in text, tab


def test_the_spec_tab_has_the_call_that_queues_it_again(actor_for, engineer, web, submit, artifact, project, page):
    job = submit(inputs=[InputSpec(slot="x", digest=artifact.digest)], name="it's", register={})
    body = tabs.build_resubmit_body(job, json.loads(job.spec))
    asked = read_submission(body, idempotency_key=None)
    again, _ = services.submit_job(actor=actor_for(engineer), project=project, submission=asked)
    assert (again.spec, again.need_cpus, again.time_limit_seconds) == (job.spec, job.need_cpus, job.time_limit_seconds)
    assert again.inputs.get().artifact_id == artifact.digest
    assert "curl -X POST http://testserver/api/v1/projects/demo/jobs" in text_of(
        web(engineer).get(page(f"/{job.pk}/spec"))
    )


def test_what_the_engine_said_is_told_as_rows(engineer, web, running, succeed, page):
    succeed(running)
    Job.objects.filter(pk=running.pk).update(result={"rows": {"training": 6013}, "left": []})
    text = text_of(web(engineer).get(page(f"/{running.pk}/spec")))
    assert "<dt>rows / training</dt>" in text
    assert "6,013" in text
    assert "{&#x27;" not in text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["Slow, it may be."], "Slow, it may be."),
        (["a", "b"], "a, b"),
        (["a, b", "c"], '"a, b", c'),
        (["", "NA"], '"", NA'),
        ([64, 8], "64, 8"),
    ],
)
def test_a_list_of_values_is_one_row(value, told):
    assert tabs.flatten_spec({"said": value}) == [("said", told)]


def test_metrics_are_drawn(engineer, web, running, worker_actor, page):
    points = [{"name": "<loss>", "value": n, "step": n} for n in range(5)]
    services.report_events(actor=worker_actor, job=running, events=[("metric", {"points": points})])
    text = text_of(web(engineer).get(page(f"/{running.pk}/metrics")))
    assert "&lt;loss&gt;" in text
    assert "<loss>" not in text
    assert f'id="told" data-redrawn data-part="told" data-redraws="{page(f"/{running.pk}/metrics")}"' in text


def test_an_open_job_reserves_the_place_of_its_first_chart(engineer, web, running, succeed, page):
    place, client = r'id="measures" data-redrawn[^>]* hidden>', web(engineer)
    for tab in ("", "/metrics"):
        assert re.search(place, text_of(client.get(page(f"/{running.pk}{tab}")))), tab
    succeed(running)
    for tab in ("", "/metrics"):
        assert not re.search(place, text_of(client.get(page(f"/{running.pk}{tab}")))), tab


def test_the_list_shows_elapsed_and_remaining_time(engineer, web, running, page):
    now, client = timezone.now(), web(engineer)
    Job.objects.update(claimed_at=now - timedelta(hours=2), progress={"eta_seconds": 90})
    for silent, left, answer in (
        (0, "1 min 30 s left", "<b>1 job</b> running"),
        (60, "not heard of since", "<b>1</b> is on an offline node"),
    ):
        Node.objects.update(heartbeat_at=now - timedelta(seconds=silent))
        text = text_of(client.get(page()))
        assert answer in text
        took = text.partition('data-l="Duration">')[2].partition("</td>")[0]
        assert took.startswith('2 h<br><small class="quiet">' + left)


def test_what_the_engine_warned_of_leads_to_the_log(engineer, web, running, succeed, page):
    client = web(engineer)
    succeed(running)
    link = f'<a href="{page(f"/{running.pk}/log")}?level=warning">1 warning</a>'
    assert link not in text_of(client.get(page(f"/{running.pk}")))
    Job.objects.filter(pk=running.pk).update(result={"warnings": ["No epoch was better."]})
    assert link in text_of(client.get(page(f"/{running.pk}")))

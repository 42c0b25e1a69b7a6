from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ml.pipelines.models import Pipeline
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import End
from apps.platform.lineage.services import EdgeSpec, record_edges
from tests.apps.ml.pipelines.conftest import CHAIN, DIAMOND, step

pytestmark = pytest.mark.django_db


def text_of(answer) -> str:
    return answer.content.decode()


def queries_of(client, url) -> int:
    client.get(url)  # the first visit renews the session
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


# -- the list -------------------------------------------------------------------------------------------------------
def test_the_list_costs_the_same_for_two_and_eight(engineer, web, start, page):
    client = web(engineer)
    for _ in range(2):
        start()
    few = queries_of(client, page())
    for _ in range(6):
        start(DIAMOND)
    assert queries_of(client, page()) == few < 20


def test_the_list_says_how_far_and_narrows(engineer, web, start, work, page):
    start(name="first")
    work(3)
    start(name="second", template="t")
    client = web(engineer)
    text = text_of(client.get(page()))
    assert "3 of 3" in text.replace("\n", " ")
    assert "second" not in text_of(client.get(page("?state=succeeded")))
    assert "first" not in text_of(client.get(page("?template=t")))
    assert client.get(page("?state=asleep")).status_code == 422


def test_on_a_phone_the_head_of_a_pipeline_says_its_name_and_state(engineer, web, start, work, page):
    start([step("a")], name="first")
    work(1)
    row = text_of(web(engineer).get(page())).partition("<tbody>")[2].partition("</tr>")[0]
    head, _, cells = row.partition("</th>")
    assert '<span class="phone">first</span>' in head
    assert "<span>Succeeded</span>" in head
    assert cells.count('<td class="wide"') == 2


def test_an_empty_list_says_what_to_do_next(engineer, viewer, web, page):
    text = text_of(web(engineer).get(page()))
    assert page("/new") in text
    assert "curl -X POST" in text
    assert page("/new") not in text_of(web(viewer).get(page()))


# -- one ------------------------------------------------------------------------------------------------------------
def test_every_tab_costs_few_queries_for_every_graph(engineer, web, start, page):
    client, wrong = web(engineer), {}
    client.get(page())  # the first visit renews the session
    dense = [step(f"s{n}", *(f"s{m}" for m in range(n))) for n in range(20)]
    for name, steps in {"one": [step("a")], "diamond": DIAMOND, "dense": dense}.items():
        pipeline = start(steps)
        for tab in ("", "/document", "/audit"):
            with CaptureQueriesContext(connection) as queries:
                status = client.get(page(f"/{pipeline.pk}{tab}")).status_code
            if status != 200 or len(queries) >= 20:
                wrong[name, tab] = status, len(queries)
    assert wrong == {}


def test_it_moves_says_how_far_and_follows_its_stream(engineer, web, start, work, claim, page, url):
    pipeline = start()
    work(1)
    claim()
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    assert "1 of 3 steps are done. b runs." in text
    assert f'data-live="{url(f"/{pipeline.pk}/events")}?seen=' in text
    assert 'data-step="b"' in text
    assert page(f"/{pipeline.pk}/cancel") in text


def test_one_that_is_done_has_no_stream_and_nothing_to_cancel(engineer, web, start, work, page):
    pipeline = start()
    work(3)
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    assert "All 3 steps have succeeded." in text
    assert text.count("100 %") == 3
    assert "data-live" not in text
    assert page(f"/{pipeline.pk}/cancel") not in text


def test_a_failure_names_its_step_and_has_one_primary_button(engineer, web, start, work, claim, fail, page):
    pipeline = start()
    work(1)
    fail(claim())
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    assert "Failed at b:" in text
    assert "It broke." in text
    assert text.count("<span>Failed</span>") == 2  # of the pipeline and of b: c has not run
    assert "<span>Not run</span>" in text
    assert text.count("btn primary") == 1
    assert 'class="btn primary">Queue b again' in text


def test_a_failure_of_the_spec_is_helped_by_another_spec(engineer, web, start, claim, fail, page):
    pipeline = start()
    fail(claim())
    Job.objects.filter(pipeline_step__name="a").update(error={"code": "x", "message": "No.", "field": "/steps"})
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    assert f'<a class="btn primary" href="{page(f"/{pipeline.pk}/rerun")}?from=a">' in text


def test_the_graph_links_every_step_and_what_feeds_it_from_outside(engineer, web, start, submit, work, page, job):
    made = submit()
    work(1)
    pipeline = start([step("a", inputs={"x": {"job": made.pk, "slot": "note"}}), step("b", "a")])
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    graph = text.partition('<svg class="dag"')[2].partition("</section>")[0]
    for one in (made, job(pipeline, "a"), job(pipeline, "b")):
        assert f'href="/p/demo/jobs/{one.pk}"' in graph
    assert graph.count('class="edge"') == 2


def test_what_it_took_and_made_is_named_as_lineage_has_it(engineer, web, start, work, worker_actor, project, page, job):
    """The same bytes may be in versions of other datasets; what one step made for the next is no input of the whole."""
    pipeline = start([step("a"), step("b", "a")])
    first, second = (End("job", str(job(pipeline, name).pk)) for name in "ab")
    raw, clean = End("dataset_version", "7", label="raw v3"), End("dataset_version", "8", label="clean v1")
    edges = [
        EdgeSpec.between(raw, first, "x"),
        EdgeSpec.between(first, clean, "note"),
        EdgeSpec.between(clean, second, "from-a"),
    ]
    work(2)
    record_edges(actor=worker_actor, project=project, edges=edges)
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    card = text[text.index("Inputs and outputs") :].partition("</section>")[0]
    assert '/7">raw v3</a> <span class="quiet">used by a<' in card
    assert '/8"><b>clean v1</b></a>' in card
    assert "used by b" not in card


def test_a_box_of_the_graph_tells_progress_and_duration(engineer, web, start, work, claim, page):
    pipeline = start()
    work(1)
    Job.objects.filter(pk=claim().pk).update(progress={"done": 1, "total": 4, "unit": "steps"})
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    graph = text.partition('<svg class="dag"')[2].partition("</section>")[0]
    assert 'data-meter y="48" height="3" width="25.0%"' in graph
    assert '<tspan data-bind="progress.share" data-format="share">25 %</tspan>' in graph
    assert graph.count("data-meter") == 1
    assert graph.count('y="46"') == 1  # how long the one that has ended took


def test_steps_stand_on_an_axis_of_time(engineer, web, start, work, page):
    client = web(engineer)
    pipeline = start()
    assert 'aria-labelledby="gantt"' in text_of(client.get(page(f"/{pipeline.pk}")))
    work(3)
    text = text_of(client.get(page(f"/{pipeline.pk}")))
    assert text.count('<svg class="barline succeeded"') == 3


def test_the_document_and_the_trail(engineer, web, start, page):
    pipeline = start(name="<b>try</b>")
    client = web(engineer)
    assert "&quot;name&quot;: &quot;a&quot;" in text_of(client.get(page(f"/{pipeline.pk}/document")))
    assert "pipeline.submit" in text_of(client.get(page(f"/{pipeline.pk}/audit")))
    assert "<b>try" not in text_of(client.get(page(f"/{pipeline.pk}")))


def test_a_jobs_page_names_its_pipeline(engineer, web, start, submit, page, job):
    client = web(engineer)
    pipeline = start()
    text = text_of(client.get(f"/p/demo/jobs/{job(pipeline, 'a').pk}"))
    assert f'href="{page(f"/{pipeline.pk}")}"' in text
    assert page(f"/{pipeline.pk}") not in text_of(client.get(f"/p/demo/jobs/{submit().pk}"))


def test_users_outside_the_project_cannot_read_pipelines(stranger, sysadmin, auditor, web, start, page):
    pipeline = start()
    for user, status in ((stranger, 404), (sysadmin, 403), (auditor, 403)):
        client = web(user)
        statuses = {tail: client.get(page(tail)).status_code for tail in ("", "/new", f"/{pipeline.pk}")}
        assert set(statuses.values()) == {status}, (user.username, statuses)


# -- what can be done to it -----------------------------------------------------------------------------------------
def test_viewers_have_no_buttons_and_cannot_write(viewer, web, start, claim, fail, page, states):
    pipeline = start()
    fail(claim())
    client = web(viewer)
    text = text_of(client.get(page(f"/{pipeline.pk}")))
    for action in ("cancel", "retry", "rerun?from=a"):
        assert page(f"/{pipeline.pk}/{action.partition('?')[0]}") not in text
        assert client.post(page(f"/{pipeline.pk}/{action}")).status_code in (302, 403), action
    assert states(pipeline)["a"] == "failed"
    assert Pipeline.objects.count() == 1


def test_cancel_with_a_reason_and_once(engineer, web, start, page, states, job):
    pipeline, client = start(), web(engineer)
    assert client.post(page(f"/{pipeline.pk}/cancel"), {"reason": "a typo"}).url == page(f"/{pipeline.pk}")
    assert set(states(pipeline).values()) == {"cancelled"}
    assert job(pipeline, "a").cancel_reason == "a typo"
    assert "ended already" in text_of(client.post(page(f"/{pipeline.pk}/cancel"), follow=True))


def test_queue_the_failed_step_again(engineer, web, start, work, claim, fail, page, states):
    pipeline, client = start(), web(engineer)
    work(1)
    fail(claim())
    assert states(pipeline) == {"a": "succeeded", "b": "failed", "c": "failed"}
    client.post(page(f"/{pipeline.pk}/retry"))
    assert states(pipeline) == {"a": "succeeded", "b": "queued", "c": "waiting"}
    assert "No step of it has failed." in text_of(client.post(page(f"/{pipeline.pk}/retry"), follow=True))


def test_run_again_with_another_spec(engineer, web, start, work, page, job, states):
    pipeline, client = start([step("a"), step("b", "a", spec={"steps": 5}), step("c", "b")]), web(engineer)
    work(3)
    form = text_of(client.get(page(f"/{pipeline.pk}/rerun?from=b")))
    assert "<b>b, c</b>" in form
    assert 'name="/steps" type="text" inputmode="numeric" autocomplete="off" spellcheck="false" value="5"' in form
    answer = client.post(
        page(f"/{pipeline.pk}/rerun?from=b"), {"/steps": "7", "/seconds": "0", "/fail": "", "op": "submit"}
    )
    new = Pipeline.objects.latest("pk")
    assert answer.url == page(f"/{new.pk}")
    assert states(new) == {"b": "queued", "c": "waiting"}
    assert json.loads(job(new, "b").spec)["steps"] == 7
    assert f"#{new.pk}" in text_of(client.get(page(f"/{pipeline.pk}")))


def test_run_again_says_what_is_wrong(engineer, web, start, page):
    pipeline, client = start(), web(engineer)
    answer = client.post(page(f"/{pipeline.pk}/rerun?from=b"), {"/steps": "0", "op": "submit"})
    assert answer.status_code == 422
    assert 'id="f-steps-e" aria-live="polite">' in text_of(answer)
    assert "have not succeeded: a (queued)" in text_of(
        client.post(page(f"/{pipeline.pk}/rerun?from=b"), {"/steps": "1", "op": "submit"})
    )
    assert client.get(page(f"/{pipeline.pk}/rerun?from=z")).status_code == 422


def test_only_steps_that_can_run_again_are_offered(engineer, web, start, work, page):
    pipeline = start(CHAIN)
    work(1)
    text = text_of(web(engineer).get(page(f"/{pipeline.pk}")))
    offered = [name for name in "abc" if f"/rerun?from={name}" in text]
    assert offered == ["a", "b"]

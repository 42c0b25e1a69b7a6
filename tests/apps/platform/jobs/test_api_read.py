from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.platform.jobs.models import Job
from apps.platform.jobs.submission import InputSpec

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def queries(client, path):
    client.get(path)  # notes the use of the token, once a minute
    with CaptureQueriesContext(connection) as caught:
        answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return len(caught)


def test_list_newest_first_in_pages(api, engineer, url, submit):
    jobs = [submit().pk for _ in range(5)]
    client = api(engineer)
    first = client.get(url("?limit=3"))
    assert [job["id"] for job in first.json()["items"]] == jobs[:1:-1]
    rest = client.get(url(f"?limit=3&cursor={first.json()['next']}")).json()
    assert [job["id"] for job in rest["items"]] == jobs[1::-1]
    assert rest["next"] is None
    assert 'rel="next"' in first.headers["Link"]


@pytest.fixture
def three(submit):
    """Jobs of the first three days of March, each of which ended the day after; a fourth that has not."""
    jobs = {name: submit(name=name) for name in ("first", "second", "third", "open")}
    for day, name in enumerate(("first", "second", "third"), start=1):
        made = datetime(2026, 3, day, 12, tzinfo=UTC)
        Job.objects.filter(pk=jobs[name].pk).update(
            created_at=made, state="cancelled", ended_at=made + timedelta(days=1)
        )
    return jobs


def names_of(client, url, queries) -> dict[str, list[str]]:
    return {query: [job["name"] for job in client.get(url(query)).json()["items"]] for query in queries}


def test_date_filters(api, engineer, url, three):
    expected = {
        "?made_after=2026-03-02&made_before=2026-03-03": ["third", "second"],
        "?made_after=7d": ["open"],
        "?ended_before=2026-03-03": ["second", "first"],
        "?ended_after=2026-03-03&name=third": ["third"],
        "?ended_after=2026-03-01&state=queued": [],
    }
    assert names_of(api(engineer), url, expected) == expected


def test_days_keep_their_order_from_page_to_page(api, engineer, url, three):
    Job.objects.filter(name="first").update(ended_at=datetime(2026, 4, 1, tzinfo=UTC))
    client, names, query = api(engineer), [], "?ended_after=2026-01-01&limit=1"
    while query:
        answer = client.get(url(query)).json()
        names += [job["name"] for job in answer["items"]]
        query = f"?ended_after=2026-01-01&limit=1&cursor={answer['next']}" if answer["next"] else ""
    assert names == ["first", "third", "second"]


def test_filters(api, engineer, url, submit, claim):
    for name in ("a", "b_50%"):
        submit(name=name)
    submit(name="run", priority=9)
    claim()
    expected = {
        "": ["run", "b_50%", "a"],
        "?state=running": ["run"],
        "?kind=noop&state=queued": ["b_50%", "a"],
        "?requester=engineer": ["run", "b_50%", "a"],
        "?requester=engine": [],
        "?name=50%25": ["b_50%"],
        "?name=_5": ["b_50%"],
        "?name=%00": ["run", "b_50%", "a"],
    }
    assert names_of(api(engineer), url, expected) == expected


def test_a_bad_query_names_its_parameter(api, engineer, url):
    expected = {
        "?cursor=x": (400, "cursor"),
        "?cursor=" + "A" * 2000: (400, "cursor"),
        "?limit=0": (422, "limit"),
        "?limit=201": (422, "limit"),
        "?state=done": (422, "state"),
        "?kind=nop": (422, "kind"),
    } | {f"?{name}=yesterday": (422, name) for name in ("made_after", "made_before", "ended_after", "ended_before")}
    client, answers = api(engineer), {}
    for query in expected:
        answer = client.get(url(query))
        answers[query] = answer.status_code, answer.json()["error"]["field"]
    assert answers == expected


def test_lists_hold_only_the_project(api, stranger, actor_for, other_project, engineer, url, submit):
    submit(who=actor_for(stranger), where=other_project)
    assert api(engineer).get(url()).json()["items"] == []


def test_the_number_of_queries_does_not_grow(api, engineer, url, submit, claim, add_artifact, project):
    client = api(engineer)
    for _ in range(5):
        submit()
        claim()
    few = queries(client, url())
    for _ in range(10):
        submit()
    assert queries(client, url()) == few


def test_one_job_costs_the_same_whatever_it_holds(api, engineer, url, submit, add_artifact, add_node, project, claim):
    client = api(engineer)
    small = submit(inputs=[InputSpec(slot="a", digest=add_artifact(project, "1" * 64).pk)])
    add_node("m0")
    few = queries(client, url(f"/{small.pk}"))
    for number in range(20):
        add_node(f"m{number + 1}", cpus=1)
    inputs = [InputSpec(slot=f"s{n}", digest=add_artifact(project, f"{n:064}").pk) for n in range(50)]
    assert queries(client, url(f"/{submit(inputs=inputs).pk}")) == few


def test_everything_of_one_job(api, viewer, url, submit, claim, fail, child_of):
    child = child_of(submit(max_attempts=1))
    parent = fail(claim())
    body = api(viewer).get(url(f"/{parent.pk}")).json()
    assert (body["state"], body["attempt"], body["node"]) == ("failed", "1 of 1", "n1")
    assert body["error"]["code"] == "broke"
    assert body["children"] == [{"id": child.pk, "kind": "noop", "state": "failed"}]
    assert body["wait"] is None


def test_outputs_have_digest_and_size(api, viewer, url, running, succeed):
    succeed(running)
    [output] = api(viewer).get(url(f"/{running.pk}")).json()["outputs"]
    assert (output["slot"], output["digest"], output["size"]) == ("note", "b" * 64, 5)


def test_jobs_of_other_projects_and_unknown_ids_are_404(api, engineer, url, submit, actor_for, stranger, other_project):
    theirs = submit(who=actor_for(stranger), where=other_project)
    client, wrong = api(engineer), {}
    for pk in (theirs.pk, "0", "99999999999999999999999"):
        for tail in ("", "/cancel", "/retry", "/priority", "/wait", "/log", "/log.txt", "/events"):
            call = client.post if tail in ("/cancel", "/retry", "/priority") else client.get
            answer = call(url(f"/{pk}{tail}"))
            if (answer.status_code, answer.json()["error"]["code"]) != (404, "not_found"):
                wrong[pk, tail] = answer.status_code
    assert wrong == {}


def test_unknown_address_below_api_is_json(client):
    answer = client.get("/api/v1/nothing/here")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_kinds_have_schemas_slots_needs_and_limits(api, viewer):
    rows = {row["kind"]: row for row in api(viewer).get("/api/v1/kinds").json()["items"]}
    assert set(rows) >= {"noop", "clean"}
    clean = rows["clean"]
    assert (clean["inputs"], clean["registers"], clean["needs"]["cpus"]) == (["table"], ["dataset"], 1.0)
    assert clean["schema"]["properties"]["window_size"]["default"] == 5


def test_what_the_next_attempt_goes_on_from(api, engineer, url, running, keep_checkpoint, succeed):
    client = api(engineer)
    assert client.get(url(f"/{running.pk}")).json()["checkpoint"] is None
    keep_checkpoint(running, 1200, b"weights")
    told = client.get(url(f"/{running.pk}")).json()["checkpoint"]
    assert (told["step"], told["attempt"], told["size"]) == (1200, 1, 7)
    succeed(running)
    assert client.get(url(f"/{running.pk}")).json()["checkpoint"] is None

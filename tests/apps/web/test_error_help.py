"""The pages of errors: what they offer besides the error, and what they never do."""

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import StaleState, StorageFull, TooLarge, TooMany, Unavailable
from apps.data.datasets.models import Dataset
from apps.platform.accounts.middleware import SessionLimits
from apps.platform.approvals import queries
from apps.web import error_help


def text_of(answer) -> str:
    return answer.content.decode()


@pytest.fixture
def failing(monkeypatch):
    """failing(error) -> every page of approvals fails with it."""

    def fail(error):
        def broken(*_args, **_more):
            raise error

        monkeypatch.setattr(queries, "list_approvals", broken)

    return fail


@pytest.mark.parametrize(
    ("path", "kind", "listed"),
    [
        ("/p/demo/jobs/77", "job", "/p/demo/jobs"),
        ("/p/demo/data/wti", "dataset", "/p/demo/data"),
        ("/p/demo/models/wti/3", "model", "/p/demo/models"),
        ("/p/demo/runs/abcdef", "run", "/p/demo/runs"),
        ("/p/demo/approvals/9", "approval", "/p/demo/approvals"),
    ],
)
def test_what_is_not_there_is_named_with_its_list(path, kind, listed, engineer, web):
    answer = web(engineer).get(path)
    assert answer.status_code == 404
    assert f"There is no {kind} “{path.split('/')[4]}” here" in text_of(answer)
    assert f'href="{listed}"' in text_of(answer)


def test_names_like_it_are_offered(engineer, web, project):
    Dataset.objects.create(project=project, name="wti-daily", created_by="x")
    assert 'href="/p/demo/data/wti-daily"' in text_of(web(engineer).get("/p/demo/data/wti-dialy"))


def test_names_of_other_projects_are_not(engineer, web, other_project):
    Dataset.objects.create(project=other_project, name="wti-daily", created_by="x")
    assert "wti-daily" not in text_of(web(engineer).get("/p/demo/data/wti-dialy"))
    assert 'href="/p/other/"' not in text_of(web(engineer).get("/p/othr/"))


def test_an_address_of_nothing_offers_the_search(engineer, web):
    assert 'href="/search?q=nowhere&amp;all=1"' in text_of(web(engineer).get("/nowhere"))


def test_a_refusal_says_what_it_takes_and_who_gives_it(viewer, secadmin, web, project):
    answer = web(viewer).post("/p/demo/datasets", {"name": "x"})
    assert answer.status_code == 403
    said = text_of(answer)
    assert [
        word
        for word in ("<dd>engineer</dd>", "<dd>viewer</dd>", "security administrators: secadmin")
        if word not in said
    ] == []


def test_the_address_of_a_form_leads_to_the_list_of_what_it_makes(engineer, web, project, other_project):
    answer = web(engineer).get("/p/demo/datasets")
    assert answer.status_code == 405
    assert "it takes what a form sends" in text_of(answer)
    assert 'href="/p/demo/data"' in text_of(answer)
    assert "Data in" not in text_of(web(engineer).get("/p/other/datasets"))


def test_a_conflict_leads_back_to_the_page_as_it_is_now(engineer, web, project, failing):
    failing(StaleState("It is succeeded by now."))
    answer = web(engineer).get("/p/demo/approvals", headers={"Referer": "http://testserver/p/demo/jobs/3?tab=log"})
    assert answer.status_code == 409
    assert 'href="/p/demo/jobs/3?tab=log"' in text_of(answer)


@pytest.mark.parametrize(
    ("query", "first"),
    [("state=failed&sort=-ended&cursor=x&limit=2", "?state=failed&amp;sort=-ended"), ("cursor=x", "?view=all")],
)
def test_a_place_that_is_not_known_leads_to_the_first_page_of_the_same_list(engineer, web, project, query, first):
    client = web(engineer)
    answer = client.get(f"/p/demo/jobs?{query}")
    assert answer.status_code == 400
    assert f'href="/p/demo/jobs{first}"' in text_of(answer)
    assert client.get(f"/p/demo/jobs{first.replace('&amp;', '&')}").status_code == 200


@pytest.mark.parametrize(("field", "query"), [("state", "?cursor=x"), ("cursor", "")])
def test_what_is_no_place_in_a_list_leads_to_no_first_page(rf, field, query):
    assert error_help.build_help(rf.get(f"/x{query}"), 400, field).first == ""


@pytest.mark.parametrize(
    "page", ["http://evil.example/p/demo/", "javascript:alert(1)", "//evil.example", "http://testserver//evil.example"]
)
def test_the_way_back_is_never_to_another_site(page, rf):
    assert error_help.find_previous_page(rf.get("/x", headers={"Referer": page})) == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [(TooLarge("Big."), 413), (TooMany("Often."), 429), (Unavailable("Busy."), 503), (StorageFull("Full."), 507)],
)
def test_each_has_a_page_that_says_what_to_do(error, status, engineer, web, project, failing):
    failing(error)
    answer = web(engineer).get("/p/demo/approvals")
    assert answer.status_code == status
    assert "What to do" in text_of(answer)
    assert "<h1>This is not possible" not in text_of(answer)


def test_a_page_about_the_database_asks_it_nothing(engineer, web, project, failing):
    failing(OperationalError("connection refused"))
    client = web(engineer)
    with CaptureQueriesContext(connection) as seen:
        answer = client.get("/p/demo/approvals")
    before = [query["sql"] for query in seen]
    assert answer.status_code == 503
    assert not [sql for sql in before if "chainhead" in sql or "apitoken" in sql]


def test_a_database_that_is_away_before_any_view_is_named_too(engineer, web, monkeypatch):
    def away(*_):
        raise OperationalError("connection refused")

    client = web(engineer)
    client.raise_request_exception = False
    monkeypatch.setattr(SessionLimits, "process_view", away)
    answer = client.get("/nodes")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "The database cannot be reached" in text_of(answer)


def test_a_defect_shows_the_request_id_and_no_trace(engineer, web, project, failing):
    failing(ZeroDivisionError("a secret"))
    client = web(engineer)
    client.raise_request_exception = False
    answer = client.get("/p/demo/approvals", headers={"X-Request-ID": "request-12345"})
    assert answer.status_code == 500
    assert "request-12345" in text_of(answer)
    assert "a secret" not in text_of(answer)


def test_help_that_fails_leaves_the_page_standing(engineer, web, monkeypatch):
    def dead(*_):
        raise DatabaseError("gone")

    monkeypatch.setattr(error_help, "suggest_names", dead)
    assert web(engineer).get("/p/demo/jobs/77").status_code == 404

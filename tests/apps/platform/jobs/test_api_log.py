import pytest

from apps.platform.jobs import queries
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def logged(running, say):
    """Ten lines in four events; line 5 is a warning, line 6 an error."""
    say(running, "one", "two", "Three")
    say(running, "four")
    say(running, "five", level="warning")
    say(running, "six", level="error")
    say(running, "seven", "eight", "nine", "数据 ten")
    return Job.objects.get(pk=running.pk)


def test_lines_by_number_text_and_level(api, viewer, url, logged):
    expected = {
        "": (list(range(1, 11)), None, 10),
        "?limit=3": ([1, 2, 3], 3, 10),
        "?after=2&limit=4": ([3, 4, 5, 6], 6, 10),
        "?after=9": ([10], None, 10),
        "?after=99": ([], None, 10),
        "?q=THREE": ([3], None, 10),
        "?q=%E6%95%B0": ([10], None, 10),
        "?q=e&after=3&limit=2": ([5, 7], 7, 10),
        "?level=warning": ([5, 6], None, 10),
        "?level=error&q=five": ([], None, 10),
    }
    client, answers = api(viewer), {}
    for query in expected:
        body = client.get(url(f"/{logged.pk}/log{query}")).json()
        answers[query] = [line["number"] for line in body["items"]], body["next"], body["total"]
    assert answers == expected


def test_a_bad_query_is_422(api, viewer, url, logged):
    client = api(viewer)
    for query, field in {"limit=0": "limit", "limit=5001": "limit", "after=-1": "after", "level=loud": "level"}.items():
        answer = client.get(url(f"/{logged.pk}/log?{query}"))
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, field), query


def test_every_line_is_found_whatever_the_events_hold(running, say, monkeypatch):
    monkeypatch.setattr(queries, "LINES_PER_READ", 6)
    for size in (1, 1, 7, 2, 1, 1, 1, 30, 1, 4):
        say(running, *["x"] * size)
    for after in (0, 1, 2, 8, 9, 48, 49):
        assert [line["number"] for line in queries.iter_lines(running, after=after)] == list(range(after + 1, 50))


def test_a_page_deep_in_a_long_log_reads_little(running, say, django_assert_num_queries):
    for _ in range(60):
        say(running, *["x"] * 10)
    with django_assert_num_queries(2):
        lines = queries.search_log(running, after=580, limit=5)
    assert [line["number"] for line in lines] == [581, 582, 583, 584, 585]


def test_text_by_accept_and_by_name(api, viewer, url, logged):
    client = api(viewer)
    download = client.get(url(f"/{logged.pk}/log.txt"))
    text = b"".join(download.streaming_content).decode()
    assert text.splitlines()[4] == "2026-01-02T03:04:05+00:00 WARNING  five"
    assert text.endswith("数据 ten\n")
    assert download.headers["Content-Disposition"] == f'attachment; filename="job-{logged.pk}.log.txt"'
    plain = client.get(url(f"/{logged.pk}/log"), headers={"Accept": "text/plain"})
    assert b"".join(plain.streaming_content).decode() == text


def test_timeline_newest_first(submit, claim, fail):
    submit()
    rows = queries.list_state_moves(fail(claim()))
    assert [(row["state"], row["text"]) for row in rows] == [
        ("failed", "It broke."),
        ("running", "Claimed by n1, attempt 1"),
        ("queued", "Submitted by engineer"),
    ]

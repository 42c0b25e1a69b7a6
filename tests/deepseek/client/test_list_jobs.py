from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.django_db(transaction=True)


def test_jobs_newest_first(cli, submit):
    numbers = [submit(name=name).pk for name in ("one", "two", "three")]
    lines = cli("jobs", "--limit", 2).stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["id", "state", "kind", "name"],
        [str(numbers[2]), "queued", "noop", "three"],
        [str(numbers[1]), "queued", "noop", "two"],
    ]


def test_jobs_of_a_state_as_json(cli, submit, running):
    submit()
    rows = json.loads(cli("jobs", "--state", "running", "--json").stdout)
    assert [row["id"] for row in rows] == [running.pk]


def test_pages_are_followed(plane, submit, monkeypatch):
    monkeypatch.setattr("deepseek.client.transport.PAGE_ROWS", 2)
    numbers = [submit().pk for _ in range(5)]
    assert [job.id for job in plane.jobs()] == numbers[::-1]
    assert [job.id for job in plane.jobs(limit=3)] == numbers[:1:-1]


def test_job_of_another_project_is_not_there(cli, submit, stranger, say_end):
    say_end(cli("logs", submit().pk, who=stranger), 2, "no job")
    assert cli("jobs", who=stranger).stdout.count("\n") == 1


def test_wrong_token(cli, say_end):
    say_end(cli("jobs", who="dso_wrong"), 2, "field: token", "hint: Log in again")


def test_no_token(cli, say_end, live_server):
    say_end(cli("jobs", DEEPSEEK_TOKEN=""), 2, f"There is no token for {live_server.url}", "hint: Log in")


def test_plane_that_is_away(cli, say_end):
    say_end(cli("jobs", DEEPSEEK_URL="http://127.0.0.1:9"), 1, "does not answer", "field: URL", "hint: Check")


@pytest.mark.parametrize("words", [["--limit", "0"], ["--state", "lost"], ["--limit", "many"]])
def test_bad_flag(cli, words):
    assert cli("jobs", *words).returncode == 2

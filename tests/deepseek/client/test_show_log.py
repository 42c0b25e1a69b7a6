"""`deepseek logs`: the lines as they are, and nothing else, on standard output."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db(transaction=True)
LINES = ("one", "  two  " + "x" * 300, "", "三\u2028\x85\ttab", "last")


def test_log_until_now(cli, running, say):
    say(running, *LINES)
    run = cli("logs", running.pk)
    assert (run.returncode, run.stdout) == (0, "".join(f"{line}\n" for line in LINES))


def test_long_log_is_read_page_by_page(plane, running, say, monkeypatch):
    monkeypatch.setattr("deepseek.client.jobs.LOG_PAGE", 2)
    say(running, *LINES)
    assert [(line.number, line.text) for line in plane.job(running.pk).log()] == list(enumerate(LINES, 1))
    assert [line.number for line in plane.job(running.pk).log(after=3)] == [4, 5]


def test_follow_ends_with_the_job(cli, running, say, succeed):
    say(running, *LINES)
    succeed(running)
    run = cli("logs", "-f", f"#{running.pk}")
    assert (run.returncode, run.stdout) == (0, "".join(f"{line}\n" for line in LINES))
    assert f"job {running.pk} succeeded: note (5 B)" in run.stderr


def test_follow_of_a_failure(cli, running, fail):
    fail(running)
    run = cli("logs", "-f", running.pk)
    assert run.returncode == 1
    assert "failed: It broke." in run.stderr


def test_exit_code_of_the_script(cli, running, worker_actor):
    from apps.platform.jobs import services

    error = {"code": "script_failed", "message": "It ended.", "msgid": "It ended.", "params": {"code": 7}}
    services.fail_attempt(actor=worker_actor, job=running, error=error, retry=False)
    assert cli("logs", "-f", running.pk).returncode == 7


def test_follow_of_a_cancelled_job(cli, submit, plane):
    job = submit()
    plane.job(job.pk).cancel("not needed")
    run = cli("logs", "-f", job.pk)
    assert run.returncode == 130
    assert "was cancelled: not needed" in run.stderr


def test_what_is_no_job(cli, say_end):
    say_end(cli("logs", 999), 2, "no job 999")
    assert cli("logs", "seven").returncode == 2

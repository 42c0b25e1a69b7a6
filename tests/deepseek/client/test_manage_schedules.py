from __future__ import annotations

import json

import pytest

from apps.platform.calendars.models import Schedule

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_from_creation_to_deletion(cli, tmp_path, viewer, say_end):
    request = tmp_path / "job.json"
    request.write_text('{"kind": "noop"}')
    create = ("schedules", "create", "nightly", "job", "30 2 * * *", "--request", request)
    made = read(cli(*create, "--timezone", "Europe/Berlin", "--overlap", "cancel"))
    assert (made["name"], made["overlap"], made["request"]) == ("nightly", "cancel", {"kind": "noop"})
    assert cli("schedules", "ls", "--state", "active").stdout.splitlines()[1].split()[:4] == [
        str(made["id"]),
        "nightly",
        "active",
        "job",
    ]
    assert read(cli("schedules", "update", made["id"], "--cron", "@daily"))["cron"] == "0 0 * * *"
    assert read(cli("schedules", "pause", made["id"], "--reason", "holidays"))["next_times"] == []
    assert read(cli("schedules", "resume", made["id"]))["state"] == "active"
    assert "next times" in cli("schedules", "show", made["id"]).stdout
    assert len(cli("schedules", "preview", "@hourly").stdout.splitlines()) == 5
    assert cli("schedules", "times", made["id"]).returncode == 0
    say_end(cli(*create), 2, "name")
    say_end(cli(*create, who=viewer), 2, "may not do schedule.create")
    say_end(cli("schedules", "update", made["id"]), 2, "nothing to change")
    say_end(cli("schedules", "preview", "noon"), 2, "cron")
    request.write_text("[]")
    say_end(cli("schedules", "update", made["id"], "--request", request), 2, "JSON object")
    assert cli("schedules", "rm", made["id"]).returncode == 0
    assert not Schedule.objects.exists()

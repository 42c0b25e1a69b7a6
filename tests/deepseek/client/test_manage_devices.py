from __future__ import annotations

import json

import pytest

from apps.fleet.devices.models import Device, EnrolmentToken
from apps.fleet.devices.services import create_group
from tests.apps.fleet.devices.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    assign,
    build_enrolment,
    create_token,
    default_experiment,
    device,
    enrol,
    fetch,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    registered,
    release,
    report,
    store_files,
    variant,
)

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def list_names(run):
    assert run.returncode == 0, run.stderr
    return [line.split()[1] for line in run.stdout.splitlines()[1:]]


def test_a_token_is_shown_once_with_the_command_of_the_agent(cli, live_server, project, say_end):
    run = cli("devices", "enrol-token", "line 1", "--gateway", "--uses", 5, "--days", 2, "--tag", "site=berlin")
    token = EnrolmentToken.objects.get()
    assert (run.returncode, run.stdout.count("\n"), run.stdout[: len(token.prefix)]) == (0, 1, token.prefix)
    assert f"deepseek agent --plane {live_server.url} --enrol @enrol.token" in run.stderr
    assert run.stdout.strip() not in run.stderr
    assert (token.max_uses, token.tags) == (5, {"site": "berlin"})
    say_end(cli("devices", "enrol-token", "line 1", "--uses", 5), 2, "/max_uses", "Make a gateway's token")
    say_end(cli("devices", "enrol-token", "line 1", "--days", 400), 2, "/days")
    assert EnrolmentToken.objects.count() == 1


def test_devices_are_listed_shown_and_tagged(cli, enrol, project, engineer, actor_for, say_end):  # noqa: F811
    enrol("press-1", tags={"site": "berlin"})
    enrol("press-2", architecture="aarch64")
    create_group(actor=actor_for(engineer), project=project, body=build_group("berlin", "tag.site = 'berlin'"))
    assert list_names(cli("devices", "list", "--group", "berlin")) == ["press-1"]
    assert list_names(cli("devices", "ls", "--architecture", "aarch64", "--state", "active")) == ["press-2"]
    assert list_names(cli("devices", "ls", "--query", "tag.site = 'berlin'", "--seen", "online")) == []
    assert [row["name"] for row in read(cli("devices", "ls", "--json", "--limit", 1))] == ["press-2"]
    assert cli("devices", "groups").stdout.splitlines()[1].startswith("berlin")
    tagged = read(cli("devices", "tag", "press-1", "line=7", "--remove", "site"))
    assert tagged["tags"] == {"line": "7"}
    lines = cli("devices", "show", tagged["id"]).stdout.splitlines()
    assert ["tags", "line=7"] in [line.split() for line in lines]
    assert read(cli("devices", "show", "press-1", "--json"))["attributes"] == {"os": "debian"}
    say_end(cli("devices", "tag", "press-1", "--remove", "site"), 2, "--remove", "line")
    say_end(cli("devices", "ls", "--query", "colour = 'red'"), 2, "query")
    for name in ("press", "press-9", "x' OR name != 'y", "99999"):
        say_end(cli("devices", "show", name), 2, "no device")


def build_group(name, query):
    from apps.fleet.devices.schemas import DeviceGroupBody

    return DeviceGroupBody(name=name, query=query)


def test_quarantine_reinstate_revoke(cli, enrol, approver, viewer, say_end):  # noqa: F811
    enrol("press-1")
    say_end(cli("devices", "quarantine", "press-1"), 2, "--reason")
    say_end(cli("devices", "quarantine", "press-1", "--reason", "x", who=viewer), 2, "may not do device.quarantine")
    assert read(cli("devices", "quarantine", "press-1", "--reason", "hot"))["reason"] == "hot"
    assert read(cli("devices", "reinstate", "press-1", "--reason", "cool", who=approver))["state"] == "active"
    assert read(cli("devices", "revoke", "press-1", "--reason", "stolen"))["state"] == "revoked"
    say_end(cli("devices", "revoke", "press-1", "--reason", "stolen"), 2, "revoked")
    again = enrol("press-1")
    assert read(cli("devices", "show", "press-1", "--json"))["id"] == again.pk
    assert Device.objects.count() == 2


def test_a_release_is_assigned_followed_and_cancelled(cli, device, release, fetch, report, assign, say_end):  # noqa: F811
    made = read(cli("devices", "assign", "press-1", f"#{release.pk}", "--hours", 0.5))
    assert (made["state"], made["release"]["id"]) == ("assigned", release.pk)
    fetch(device)
    report(device, device.assignments.get(), "downloading", progress=0.5)
    line = cli("devices", "assignments", "--device", "press-1", "--state", "assigned").stdout.splitlines()[1]
    assert line.split()[:4] == [str(made["id"]), "press-1", f"#{release.pk}", "wti-forecast:v1"]
    reports = cli("devices", "assignments", made["id"]).stdout.splitlines()
    assert reports[-1].split()[1:4] == ["device", "downloading", "0.5"]
    assert read(cli("devices", "cancel", made["id"], "--reason", "not now"))["state"] == "cancelling"
    assert cli("devices", "assignments", "--release", release.pk, "--state", "failed").stdout.count("\n") == 1
    say_end(cli("devices", "assign", "press-1", 99999), 2, "no release 99999")
    say_end(cli("devices", "assign", "press-1", release.pk, "--hours", 9000), 2, "--hours", "8784")
    say_end(cli("devices", "cancel", 99999), 2, "no assignment 99999")

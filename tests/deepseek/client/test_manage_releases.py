from __future__ import annotations

import hashlib
import json

import pytest

from apps.fleet.releases.models import Release
from apps.fleet.releases.services import create_key
from deepseek.agent.storage.home import Home
from deepseek.agent.updating.incoming import bring_release
from deepseek.signing.dsse import Envelope
from deepseek.signing.key_lists import parse_key_lists, verify_key_lists, verify_release
from tests.apps.fleet.releases.conftest import (  # noqa: F401  fixtures
    _own_store,
    add_samples,
    approved,
    default_experiment,
    forms,
    held,
    issue,
    job_of,
    make_variant,
    operator,
    registered,
    spoil,
    store_files,
    variant,
)

pytestmark = pytest.mark.django_db(transaction=True)


def read(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_issue_list_show_revoke(cli, variant, plane, viewer, say_end):  # noqa: F811
    made = read(cli("releases", "issue", "wti-forecast:v1"))
    assert (made["variant"], made["state"], "envelope" in made) == ("tvm-x86_64", "issued", False)
    assert read(cli("releases", "issue", "wti-forecast:production", "--variant", "tvm-x86_64"))["sequence"] == 2
    lines = cli("releases", "ls", "--model", "wti-forecast", "--state", "issued").stdout.splitlines()[1:]
    assert [line.split()[1:6] for line in lines] == [
        ["wti-forecast", "1", "tvm-x86_64", "x86_64", number] for number in ("2", "1")
    ]
    shown = cli("releases", "show", made["id"]).stdout
    assert made["digest"] in shown
    assert "file samples.json" in shown
    assert read(cli("releases", "show", made["id"], "--json"))["envelope"]["signatures"]
    say_end(cli("releases", "revoke", made["id"]), 2, "--reason")
    assert read(cli("releases", "revoke", made["id"], "--reason", "wrong units"))["revocation_reason"] == "wrong units"
    keys = cli("releases", "keys")
    assert keys.stdout.splitlines()[1].split()[:2] == [made["key"], "active"]
    assert read(cli("releases", "keys", "--json"))["fingerprint"] in keys.stderr
    say_end(cli("releases", "issue", "wti-forecast:v1", who=viewer), 2, "may not do release.issue")
    say_end(cli("releases", "issue", "wti-forecast:v1", "--variant", "int8"), 2, "without_samples")
    for wrong in ("wti-forecast", "wti-forecast:v7", "wti-forecast:nowhere"):
        say_end(cli("releases", "issue", wrong), 2, "version", "hint")
    assert Release.objects.count() == 2


def test_keys_of_several_pages(cli, operator, monkeypatch):  # noqa: F811
    monkeypatch.setattr("apps.fleet.releases.queries.KEY_LISTS_BYTES", 1)
    monkeypatch.setattr("apps.core.lists.pages.parse_limit", lambda text: 2)
    for _ in range(3):
        create_key(actor=operator)
    document = read(cli("releases", "keys", "--json"))
    assert (document["version"], len(document["lists"]), len({row["id"] for row in document["keys"]})) == (3, 3, 3)


def test_samples_are_a_job(cli, variant):  # noqa: F811
    run = cli("releases", "samples", "wti-forecast:v1", "--variant", "int8", "--detach")
    assert (run.returncode, run.stdout.strip().isdecimal()) == (0, True), run.stderr


@pytest.fixture
def release(cli, variant):  # noqa: F811
    return read(cli("releases", "issue", "wti-forecast:v1"))


def test_an_exported_folder_is_what_a_device_takes(cli, release, tmp_path):
    run = cli("releases", "export", release["id"], "carried/usb")
    assert run.returncode == 0, run.stderr
    folder = tmp_path / "carried/usb"
    assert sorted(run.stdout.split()) == sorted(f"carried/usb/{file.name}" for file in folder.iterdir())
    assert {file.name for file in folder.parent.iterdir()} == {"usb"}
    keys = parse_key_lists(json.loads((folder / "keys.json").read_text()))
    assert f"--fingerprint {keys[0].content.digest}" in run.stderr
    home = Home(tmp_path / "device")
    home.prepare()
    assert bring_release(home, folder) == release["digest"]
    statement = verify_release(Envelope.parse((folder / "release.json").read_bytes()), verify_key_lists(keys)).statement
    for file in statement.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256


def test_what_is_not_exported(cli, release, spoil, stranger, say_end, tmp_path):  # noqa: F811
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").write_text("mine")
    say_end(cli("releases", "export", release["id"], "full"), 2, "FOLDER", "full", "empty")
    say_end(cli("releases", "export", release["id"], "/proc"), 2, "FOLDER", "/proc/release")
    say_end(cli("releases", "export", 99999, "out"), 2, "no release 99999")
    say_end(cli("releases", "export", release["id"], "out", who=stranger), 2, "no release")
    spoil(release["files"][-1]["sha256"])
    say_end(cli("releases", "export", release["id"], "out"), 1, "damaged")
    read(cli("releases", "revoke", release["id"], "--reason", "wrong units"))
    say_end(cli("releases", "export", release["id"], "out"), 2, "was revoked")
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]

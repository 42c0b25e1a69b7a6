"""The command line: flags, exit codes, --once and status."""

import json

import pytest

from apps.fleet.devices.models import LABEL_LENGTH, MAX_LABELS
from deepseek.agent.command import run_agent
from deepseek.agent.errors import AgentFailure
from deepseek.agent.flags import MAX_ATTRIBUTE_CHARACTERS, MAX_ATTRIBUTES
from deepseek.agent.serving.server_process import open_listener
from deepseek.agent.storage.home import Home
from tests.deepseek.agent.plane_double import ENROLMENT_TOKEN
from tests.deepseek.agent.releases import make_release


@pytest.fixture
def agent(call_agent, tmp_path, plane):
    """agent(*words) -> (exit code, code of the error) of one turn of the plane above."""
    standard = ["--plane", plane.url, "--home", tmp_path / "home", "--watch", "0", "--once"]
    return lambda *words: call_agent(*standard, *words)


def test_once_enrols_installs_reports_and_leaves(agent, call_agent, plane, tmp_path, capsys):
    release = make_release(1)
    plane.assign(release, "1")
    token = tmp_path / "token"
    token.write_text(f"{ENROLMENT_TOKEN}\n")
    token.chmod(0o600)
    assert agent("--enrol", f"@{token}", "--name", "press-1", "--attribute", "site=berlin") == (0, "")
    assert [receipt.release for receipt in plane.receipts] == [release.digest]
    (device,) = plane.devices.values()
    assert (device["name"], device["attributes"]) == ("press-1", {"site": "berlin"})
    log = capsys.readouterr().err
    events = {json.loads(line)["event"] for line in log.splitlines()}
    assert {"started", "enrolled", "update_finished", "stopped"} <= events
    assert ENROLMENT_TOKEN not in log
    assert call_agent("status", "--home", tmp_path / "home", "--json") == (0, "")
    status = json.loads(capsys.readouterr().out)
    assert (status["agent"], status["current"], status["model"]) == ("stopped", release.digest, "price 1 int8")
    assert call_agent("status", "--home", tmp_path / "home") == (0, "")
    assert "press-1" in capsys.readouterr().out


def test_once_says_by_its_exit_code_what_failed(agent, plane):
    plane.assign(make_release(1, behaviour="wrong"), "1")
    assert agent("--enrol", ENROLMENT_TOKEN) == (1, "")
    plane.away = 5
    assert agent() == (1, "")
    plane.away = 0
    assert agent() == (0, "")


def test_bad_use(call_agent, tmp_path, plane):
    open_file = tmp_path / "token"
    open_file.write_text(ENROLMENT_TOKEN)
    open_file.chmod(0o644)
    occupied = tmp_path / "file"
    occupied.write_text("")
    at, home = ["--plane", plane.url], ["--home", tmp_path / "home"]
    tls = ["--plane", "https://127.0.0.1:1"]
    cases = {
        "usage": at,
        "bad_url": ["--plane", "ftp://x", *home],
        "token_file_unsafe": [*at, "--enrol", f"@{open_file}", *home],
        "bad_token": [*at, "--enrol", "a b", *home],
        "bad_token, no file": [*at, "--enrol", "@nowhere", *home],
        "bad_attribute": [*at, "--attribute", "site", *home],
        "bad_attribute, long": [*at, "--attribute", f"site={'x' * 129}", *home],
        "usage, address": [*at, "--serve", "8080", *home],
        "usage, name": [*at, "--name", "press 1", *home],
        "usage, number": [*at, "--poll", "nan", *home],
        "not_enrolled": [*at, "--once", *home],
        "bad_ca": [*tls, "--ca", "nowhere.pem", *home],
        "home_unusable": [*at, "--home", occupied],
        "no_home": ["status", "--home", tmp_path / "nowhere"],
        "enrolment_refused": [*at, "--enrol", "dse_no", "--once", *home],
    }
    ends = {code: call_agent(*words) for code, words in cases.items()}
    assert {code: end for code, end in ends.items() if end != (2, code.partition(",")[0])} == {}


def test_attributes_have_the_limits_of_the_plane():
    assert (MAX_ATTRIBUTE_CHARACTERS, MAX_ATTRIBUTES <= MAX_LABELS) == (LABEL_LENGTH, True)


def test_a_home_of_another_plane_or_in_use(agent, call_agent, tmp_path):
    assert agent("--enrol", ENROLMENT_TOKEN) == (0, "")
    other = call_agent("--plane", "http://127.0.0.1:1", "--home", tmp_path / "home", "--once")
    assert other == (2, "home_of_other_plane")
    home = Home(tmp_path / "home")
    home.lock()
    assert agent() == (1, "home_in_use")
    home.unlock()


def test_an_address_that_another_program_has(tmp_path, plane):
    with open_listener("127.0.0.1", 0) as other:
        words = ["--plane", plane.url, "--home", str(tmp_path), "--serve", f"127.0.0.1:{other.getsockname()[1]}"]
        with pytest.raises(AgentFailure) as caught:
            run_agent(words)
    assert (caught.value.code, caught.value.exit_code) == ("address_in_use", 1)


def test_a_damaged_file_of_the_home_is_named(agent, tmp_path):
    assert agent("--enrol", ENROLMENT_TOKEN) == (0, "")
    (tmp_path / "home/device.json").write_text("{")
    assert agent() == (2, "home_damaged")

"""What a node says it can give, and the sandbox that it plans for an attempt of each kind."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from apps.core.errors import PlaneError
from apps.platform.jobs.kinds import KINDS, Network
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from workers import attempt_slots, isolation, kinds, node, sandbox_trial, tasks
from workers.isolation import Isolation
from workers.process import is_process_gone

WAYS = {"root": Isolation("root"), "user": Isolation("user"), "none": Isolation()}


@pytest.fixture
def job():
    return SimpleNamespace(kind="noop", spec='{"allowed_hosts": ["wiki.bank.example"]}', need_memory_bytes=0)


@pytest.fixture
def give(monkeypatch):
    """give(isolation, network): what this node can give, and what the kind of the job asks for."""

    def set_both(found: Isolation, network: Network = Network.NONE) -> None:
        monkeypatch.setattr(isolation, "detect_isolation", lambda: found)
        monkeypatch.setitem(isolation.KINDS, "noop", replace(KINDS["noop"], network=network))

    return set_both


@pytest.mark.django_db(transaction=True)
def test_attempt_runs_in_the_sandbox_of_its_node(worker, submit, engine_processes, monkeypatch, tmp_path):
    if isolation.detect_isolation().way == "none":
        pytest.skip(f"this machine cannot isolate: {isolation.detect_isolation().why_not}")
    monkeypatch.setitem(kinds.ENGINE, "noop", "tests.workers.prober:tell_place")
    (tmp_path / "plane.sqlite3").touch()
    job = submit()
    tasks.run_next("cpu")
    job = Job.objects.get(pk=job.pk)
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)
    assert job.result["network"] != os.readlink("/proc/self/ns/net")
    scratch = isolation.get_scratch_root().relative_to(tmp_path)
    assert job.result["seen"][:-1] == [str(scratch.parent), str(scratch)]


@pytest.mark.django_db
def test_each_network_lets_through_what_it_says(give, job, tmp_path, settings):
    collected, plane = ["*.bank.example"], "10.0.0.5:8443"
    settings.ENV = settings.ENV.model_copy(
        update={"collect_hosts": collected, "plane_url": "https://10.0.0.5:8443/", "node_name": "n"}
    )
    hosts = {"wanted": ["wiki.bank.example"], "allowed": collected}
    expected = {
        Network.NONE: None,
        Network.HOSTS: hosts,
        Network.PLANE: {"wanted": [plane], "allowed": [plane]},
    }
    wrong = {}
    for way, found in WAYS.items():
        for network, connect in expected.items():
            give(found, network)
            planned = isolation.plan_confinement(job, tmp_path, 0)
            if (planned["connect"], planned["sandbox"]["way"]) != (None if way == "none" else connect, way):
                wrong[way, network] = planned
    assert wrong == {}


@pytest.mark.django_db
def test_plane_is_found_by_its_facts_unless_it_is_named(settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    settings.ENV = settings.ENV.model_copy(update={"bind": "127.0.0.1", "port": 8000})
    assert isolation.find_plane_address() == "127.0.0.1:8000"
    (tmp_path / "plane.json").write_text(json.dumps({"port": 8017}))
    assert isolation.find_plane_address() == "127.0.0.1:8017"
    settings.ENV = settings.ENV.model_copy(update={"plane_url": "https://plane.bank.example"})
    assert isolation.find_plane_address() == "plane.bank.example:443"
    settings.ENV = settings.ENV.model_copy(update={"plane_url": "http://[fd00::5]:8000"})
    assert isolation.find_plane_address() == "[fd00::5]:8000"


@pytest.mark.django_db
def test_database_keys_and_secrets_are_hidden(settings, tmp_path):
    secret = tmp_path / "secrets" / "secret_key"
    secret.parent.mkdir()
    secret.touch()
    settings.PLANE_HOME, settings.SECRET_FILES = tmp_path / "home", [str(secret), "/etc/secret_key"]
    settings.ENV = settings.ENV.model_copy(update={"repositories_folder": tmp_path / "git"})
    hidden = isolation.list_hidden_paths()
    # With the keys beside it; but the system's own folders stay.
    folders = {str(tmp_path / "home"), str(tmp_path / "git"), str(secret.parent), os.path.expanduser("~")}
    assert folders | {"/etc/secret_key"} <= set(hidden)
    assert "/etc" not in hidden


@pytest.mark.django_db
def test_folders_of_a_secret_that_is_a_link_are_hidden(settings, tmp_path):
    """As systems mount secrets: the link stays, and what it leads to by way of another one is replaced."""
    secret, version = tmp_path / "secrets/secret_key", tmp_path / "versions/1"
    for folder in (secret.parent, version, tmp_path / "current"):
        folder.mkdir(parents=True)
    (version / "secret_key").touch()
    (tmp_path / "current/data").symlink_to(version)
    (tmp_path / "current/secret_key").symlink_to("data/secret_key")
    secret.symlink_to("../current/secret_key")
    settings.SECRET_FILES = [str(secret)]
    folders = {str(secret.parent), str(tmp_path / "current"), str(version)}
    assert folders <= set(isolation.list_hidden_paths())
    secret.unlink()
    secret.symlink_to(secret)  # leads nowhere
    assert str(secret.parent) in isolation.list_hidden_paths()


@pytest.mark.django_db
def test_system_is_not_hidden_for_a_secret_in_it(settings, tmp_path):
    """The file alone is covered, wherever a link to it lies, and so is the link's folder."""
    (tmp_path / "secret_key").symlink_to("/usr/lib/plane/secret_key")
    listed = ["/etc/secret_key", "/run/secret_key", "/usr/local/etc/secret_key", str(tmp_path / "secret_key")]
    settings.SECRET_FILES = listed
    hidden = set(isolation.list_hidden_paths())
    assert {*listed[:3], "/usr/lib/plane/secret_key", str(tmp_path)} <= hidden
    assert not hidden & {"/etc", "/run", "/usr/local/etc", "/usr/lib/plane"}


@pytest.mark.django_db
def test_description_of_a_node_does_not_change_with_a_restart(settings, tmp_path, monkeypatch):
    """A changed one is recorded in the audit trail."""
    settings.PLANE_HOME = tmp_path
    refused = f"{isolation.get_scratch_root()}/0-0-1-1: Permission denied"
    told = {"way": "none", "user": None, "why_not": [{"way": "user", "user": None, "reason": refused}], "signals": True}
    monkeypatch.setattr(isolation, "build_marker", lambda *_: "0:0:1:1")
    monkeypatch.setattr(isolation.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=json.dumps(told)))
    found = isolation.run_trial()
    assert found.facts()["why_not"][0]["reason"] == "scratch: Permission denied"
    assert list(isolation.get_scratch_root().iterdir()) == []


@pytest.mark.django_db
def test_trial_that_does_not_end_is_ended_and_a_reason(settings, tmp_path, monkeypatch):
    """With what it has started, in a session of its own as each way is tried."""
    settings.PLANE_HOME = tmp_path
    trial = tmp_path / "trial.py"
    trial.write_text(
        "import subprocess, time\n"
        "started = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(started.pid))\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(isolation, "TRIAL", trial)
    monkeypatch.setattr(isolation, "TRY_SECONDS", 5.0)
    found = isolation.run_trial()
    assert (found.way, found.facts()["why_not"][0]["reason"]) == ("none", "the trial does not end within 5 s")
    assert is_process_gone(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("reason", ["the trial does not end within 240 s", "it does not end within 60 s"])
def test_trial_that_timed_out_is_tried_again_after_a_pause(monkeypatch, caplog, reason):
    hung = Isolation(why_not=[{"way": "user", "user": None, "reason": reason}])
    outcomes, clock = [hung, hung, Isolation("user")], [1000.0]
    monkeypatch.setattr(isolation, "_outcome", None)
    monkeypatch.setattr(isolation, "_retry_at", None)
    monkeypatch.setattr(isolation, "run_trial", lambda: outcomes.pop(0))
    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    ways = []
    for passed in (0.0, isolation.RETRY_SECONDS - 1, 1.0, isolation.RETRY_SECONDS, 10 * isolation.RETRY_SECONDS):
        clock[0] += passed
        ways.append((isolation.detect_isolation().way, len(outcomes)))
    assert ways == [("none", 2), ("none", 2), ("none", 1), ("user", 0), ("user", 0)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert reason in caplog.text


def test_part_that_timed_out_is_tried_again_and_never_gets_less(monkeypatch):
    reason, clock = "it does not end within 60 s", [1000.0]
    hung = Isolation(why_not=[{"way": "root", "user": None, "reason": reason}])
    less = Isolation("root", no_processes="Operation not permitted")
    outcomes = [Isolation("root", no_images=reason), hung, less, Isolation("root")]
    monkeypatch.setattr(isolation, "_outcome", None)
    monkeypatch.setattr(isolation, "_retry_at", None)
    monkeypatch.setattr(isolation, "run_trial", lambda: outcomes.pop(0))
    monkeypatch.setattr(isolation, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    steps = []
    for _ in range(5):
        steps.append((isolation.detect_isolation().way, isolation.detect_isolation().why_no_images, len(outcomes)))
        clock[0] += isolation.RETRY_SECONDS
    assert steps == [("root", reason, 3), ("root", reason, 2), ("root", reason, 1), ("root", "", 0), ("root", "", 0)]


def test_refused_sandbox_is_remembered(monkeypatch, caplog):
    outcomes = [Isolation(why_not=[{"way": "user", "user": None, "reason": "Operation not permitted"}])]
    monkeypatch.setattr(isolation, "_outcome", None)
    monkeypatch.setattr(isolation, "_retry_at", None)
    monkeypatch.setattr(isolation, "run_trial", lambda: outcomes.pop(0))
    assert [isolation.detect_isolation().way, isolation.detect_isolation().way] == ["none", "none"]
    assert caplog.records == []


def test_whole_trial_has_time_for_every_way():
    assert isolation.TRY_SECONDS > 5 * sandbox_trial.TRY_SECONDS


@pytest.mark.django_db
def test_attempts_at_once_are_different_users(give, job, tmp_path, monkeypatch):
    monkeypatch.setattr(attempt_slots, "MACHINE_LOCKS", tmp_path / "locks")

    def users() -> list[int | None]:
        with attempt_slots.take_place() as first, attempt_slots.take_place() as second:
            return [
                isolation.plan_confinement(job, tmp_path, each.number)["sandbox"]["user"] for each in (first, second)
            ]

    give(Isolation("root", 5000))
    assert (users(), users()) == ([5000, 5001], [5000, 5001])
    give(Isolation("user"))
    assert users() == [None, None]


def test_node_that_must_isolate_and_cannot_takes_no_jobs(settings):
    answers = {}
    for demanded in ("preferred", "required"):
        settings.ENV = settings.ENV.model_copy(update={"isolation": demanded})
        answers[demanded] = {way: node.can_run(found) for way, found in WAYS.items()}
    assert answers == {
        "preferred": {"root": True, "user": True, "none": True},
        "required": {"root": True, "user": True, "none": False},
    }


def test_only_collections_scripts_and_studies_leave_their_sandbox():
    networks = {kind: entry.network for kind, entry in KINDS.items() if entry.network != "none"}
    studies = dict.fromkeys(("federation_server", "federation_site"), "study")
    assert networks == {"collect": "hosts", "script": "plane"} | studies


@pytest.mark.django_db
def test_job_over_several_nodes_is_refused_where_its_network_cannot_be_kept(give, job, tmp_path):
    codes = {}
    for way in ("user", "none"):
        give(WAYS[way], Network.PEERS)
        with pytest.raises(PlaneError) as refused:
            isolation.plan_confinement(job, tmp_path, 0)
        codes[way] = refused.value.code
    assert codes == {"user": "network_refused", "none": "network_refused"}


@pytest.mark.django_db
def test_peers_get_a_link_where_the_node_can_make_one(give, job, tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "find", lambda program: f"/usr/sbin/{program}")
    monkeypatch.setattr(isolation, "FORWARDING", tmp_path / "ip_forward")
    job.spec = json.dumps({"peers": ["10.0.0.5:29400"], "ports": [29400]})
    give(Isolation("root"), Network.PEERS)
    isolation.FORWARDING.write_text("0\n")
    assert isolation.detect_isolation().facts()["missing"] == ["peers: sysctl net.ipv4.ip_forward=1"]
    with pytest.raises(PlaneError):
        isolation.plan_confinement(job, tmp_path, 3)
    isolation.FORWARDING.write_text("1\n")
    assert isolation.plan_confinement(job, tmp_path, 3)["sandbox"]["link"] == {
        "number": 3,
        "peers": [("10.0.0.5", 29400)],
        "ports": [29400],
        "ip": "/usr/sbin/ip",
        "nft": "/usr/sbin/nft",
    }

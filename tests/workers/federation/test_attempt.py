"""What a worker lets the jobs of studies do, and what it reports of them."""

from __future__ import annotations

import copy
import json
import os

import pytest

from apps.core.errors import PlaneError, StaleState
from apps.ml.federation import services
from apps.ml.federation.models import LedgerEntry, SiteStudy
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.placement import explain_why_not
from apps.platform.jobs.services import claim_job, release_job
from apps.platform.nodes.models import Node
from deepseek.federated.ledger import EgressLedger
from deepseek.federated.spec import EgressRule
from deepseek.signing.keys import load_private_key
from workers.federation.attempt import FederationAttempt, require_port, require_server
from workers.federation.homes import (
    CHUNK_BYTES,
    build_home_path,
    prepare_home,
    read_ledger_lines,
    read_rounds,
    remove_keys,
    restore_ledger,
)
from workers.federation.sweep import sweep_homes
from workers.gangs.members import build_attempt
from workers.runner import AttemptStopped

pytestmark = pytest.mark.django_db


def test_jobs_connect_and_listen_only_where_the_operator_allows(settings):
    settings.ENV = settings.ENV.model_copy(
        update={"federation_servers": ["10.0.0.0/8:8102"], "federation_ports": [8102]}
    )
    require_server("10.1.2.3:8102")
    require_port(8102)
    for refused in (
        lambda: require_server("10.1.2.3:443"),
        lambda: require_server("evil.example:8102"),
        lambda: require_port(22),
    ):
        with pytest.raises(PlaneError) as caught:
            refused()
        assert caught.value.first()["hint"]


@pytest.fixture
def attempt(worker, study, site_studies, hospital) -> FederationAttempt:
    """Of the first site, staged as far as its folder."""
    row = services.join_study(actor=hospital, site_study=site_studies[0])
    job = claim_job(actor=worker.actor, node=worker.node, owner="o", queue="cpu")
    attempt = build_attempt(job, actor=worker.actor.with_job(row.job_id))
    attempt.scratch.mkdir(parents=True, exist_ok=True)
    attempt.home = prepare_home(job, actor=worker.actor)
    attempt.find_rows()
    return attempt


def write_entry(attempt, round):
    row = attempt.site_study
    signer = load_private_key(attempt.home / "ledger.key")
    with EgressLedger.open(attempt.home / "ledger.jsonl", study=row.digest, site=row.site, signer=signer) as ledger:
        ledger.record(b"x%d" % round, kind="update", round=round, rule=EgressRule(), norm=1.0, max_abs=1.0)


def test_the_ledger_is_reported_once_and_survives_the_node(attempt, worker, tmp_path):
    write_entry(attempt, 1)
    attempt.report()
    write_entry(attempt, 2)
    with (attempt.home / "ledger.jsonl").open("ab") as file:
        file.write(b'{"half')  # being written
    attempt.report()
    attempt.report()
    attempt.offset = 0  # another attempt, which knows nothing
    attempt.report()
    assert [entry.round for entry in LedgerEntry.objects.order_by("pk")] == [1, 2]
    written = (attempt.home / "ledger.jsonl").read_bytes().removesuffix(b'{"half')
    (attempt.home / "ledger.jsonl").unlink()
    restore_ledger(attempt.site_study, attempt.home, actor=worker.actor)
    assert (attempt.home / "ledger.jsonl").read_bytes() == written


def test_a_forged_line_is_not_taken_and_is_told_of(attempt):
    write_entry(attempt, 1)
    lines, _ = read_ledger_lines(attempt.home, 0)
    forged = json.dumps(lines[0] | {"round": 7}).encode() + b"\nnot json\n"
    with (attempt.home / "ledger.jsonl").open("ab") as file:
        file.write(forged)
    attempt.report()
    assert LedgerEntry.objects.count() == 1
    assert "not accepted" in attempt.relay.lines[-1][2]


def test_what_an_engine_puts_in_place_of_its_files_is_not_followed(tmp_path):
    secret, home = tmp_path / "secret", tmp_path / "home"
    home.mkdir()
    secret.write_text('[{"round": 1}]\n')
    (home / "ledger.jsonl").symlink_to(secret)
    (home / "rounds.json").symlink_to(secret)
    assert (read_ledger_lines(home, 0), read_rounds(home)) == (([], 0), [])
    (home / "ledger.jsonl").unlink()
    os.mkfifo(home / "ledger.jsonl")  # would be waited for without end
    assert read_ledger_lines(home, 0) == ([], 0)
    (home / "ledger.jsonl").unlink()
    (home / "ledger.jsonl").write_bytes(b"x" * CHUNK_BYTES + b'\n{"round": 1}\n')  # a line that hides the next
    lines, end = read_ledger_lines(home, 0)
    assert lines == [{}]
    assert {"round": 1} in read_ledger_lines(home, end)[0]


def test_keys_are_there_for_jobs_of_a_running_study_alone(attempt, worker, hospital, site_studies):
    assert {path.name for path in attempt.home.glob("*.key")} == {"site.key", "ledger.key"}
    (attempt.home / ".site.key.0a1b2c").write_text("of a worker that was killed")
    remove_keys(attempt.home, attempt.job)
    assert list(attempt.home.glob("*.key*")) == []
    services.leave_study(actor=hospital, site_study=attempt.site_study)
    with pytest.raises(PlaneError, match="no study that runs"):
        prepare_home(attempt.job, actor=worker.actor)
    assert list(build_home_path(attempt.job).glob("*.key")) == []


def test_an_attempt_that_lost_its_job_leaves_the_keys_of_the_next_one(attempt, worker):
    late = copy.copy(attempt.job)
    attempt.job.attempt += 1
    prepare_home(attempt.job, actor=worker.actor)
    remove_keys(attempt.home, late)
    assert len(list(attempt.home.glob("*.key"))) == 2
    with pytest.raises(StaleState):
        prepare_home(late, actor=worker.actor)
    remove_keys(attempt.home, attempt.job)
    assert list(attempt.home.glob("*.key")) == []
    attempt.job.attempt -= 1  # a plane that was restored numbers anew
    prepare_home(attempt.job, actor=worker.actor)


def test_rounds_of_another_shape_are_left_out(attempt, study):
    attempt.study = study
    rounds = [
        {"round": 10**12, "epsilon": {}},
        {"round": 1, "epsilon": [1]},
        {"round": 1, "epsilon": {"north": 0.5, "south": "x", "west": None}, "sites": ["north"]},
        {"round": "2", "epsilon": {}},
        {"round": 2, "epsilon": {"north": float("nan")}},
    ]
    (attempt.home / "rounds.json").write_text(json.dumps(rounds))
    attempt.report_rounds(study)
    assert list(study.rounds.order_by("number").values_list("number", "epsilon")) == [(1, 0.5), (2, None)]


def test_what_was_approved_is_compared_before_every_attempt(attempt, hospital, worker, monkeypatch):
    monkeypatch.setattr("apps.ml.federation.facts.compute_study_code_digest", lambda: "0" * 64)
    remove_keys(attempt.home, attempt.job)
    with pytest.raises(PlaneError) as caught:
        attempt.stage()
    assert caught.value.code == "approval_void"
    assert SiteStudy.objects.get(pk=attempt.site_study.pk).state == "void"
    assert list(attempt.home.glob("*.key")) == []
    with pytest.raises(PlaneError, match="no study that runs"):  # a retry of the same job too
        prepare_home(attempt.job, actor=worker.actor)


def test_a_study_goes_on_where_its_folder_is(attempt, worker, site_studies):
    other = Node.objects.create(name="elsewhere", queues=["cpu"], cpus=64, memory_bytes=2**40, extras=["federation"])
    attempt.bind()
    assert (attempt.job.bound_to, attempt.site_study.__class__.objects.get(pk=attempt.site_study.pk).home_node) == (
        worker.node,
        worker.node,
    )
    write_entry(attempt, 1)
    attempt.unbind()
    release_job(actor=worker.actor, job=attempt.job, reason="The worker was stopped")
    assert claim_job(actor=worker.actor, node=other, owner="o", queue="cpu") is None
    assert "keeps its state" in explain_why_not(attempt.job, other, [], online=True)
    # Another job of the same study, on the other node: it hands itself over.
    Job.objects.filter(pk=attempt.job.pk).update(bound_to=None)
    job = claim_job(actor=worker.actor, node=other, owner="o", queue="cpu")
    moved = build_attempt(job, actor=worker.actor.with_job(job.pk))
    with pytest.raises(AttemptStopped):
        moved.stage()
    moved.write_end(moved.report_stop)
    job = Job.objects.get(pk=job.pk)
    assert (job.state, job.bound_to, job.attempts_used) == ("queued", worker.node, 0)
    assert claim_job(actor=worker.actor, node=worker.node, owner="o", queue="cpu") == job


def test_a_node_that_came_to_nothing_is_let_go(attempt, worker):
    attempt.bind()
    attempt.unbind()
    row = SiteStudy.objects.get(pk=attempt.site_study.pk)
    assert (row.home_node, Job.objects.get(pk=attempt.job.pk).bound_to) == (None, None)


def test_folders_of_ended_studies_and_keys_of_dead_jobs_are_removed(attempt, worker, hospital, study, coordinator):
    home, row = attempt.home, attempt.site_study
    assert sweep_homes(actor=worker.actor) == 0
    assert len(list(home.glob("*.key"))) == 2  # its job runs
    write_entry(attempt, 1)
    Job.objects.filter(pk=attempt.job.pk).update(attempt=attempt.job.attempt + 1)  # elsewhere, after this worker's end
    sweep_homes(actor=worker.actor)
    assert list(home.glob("*.key")) == []
    Job.objects.filter(pk=attempt.job.pk).update(attempt=attempt.job.attempt)
    prepare_home(attempt.job, actor=worker.actor)
    release_job(actor=worker.actor, job=attempt.job, reason="killed")
    sweep_homes(actor=worker.actor)
    assert (list(home.glob("*.key")), home.is_dir()) == ([], True)
    services.leave_study(actor=hospital, site_study=row)
    stranger = home.parents[1] / ("0" * 64) / "north"
    stranger.mkdir(parents=True)
    (stranger / "site.key").write_text("of a study that the database does not know")
    assert sweep_homes(actor=worker.actor) == 1
    assert (home.exists(), stranger.is_dir(), list(stranger.iterdir())) == (False, True, [])
    assert LedgerEntry.objects.filter(site_study=row, round=1).exists()  # no attempt had reported it

"""Four real hospitals, each a plane in a network of its own, train one model; three of the jobs' processes are killed.

Cleveland coordinates and takes part; Switzerland's only way out is its proxy. The engine's own rounds are tested in
tests/deepseek/federated; benchmarks/federation_planes.py runs this at full size.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import psutil
import pytest

from deepseek.federated.code import compute_study_code_digest
from deepseek.federated.ledger import verify_entries
from deepseek.federated.spec import LedgerEntry
from tests.deepseek.federated.hospitals import build_heart_study
from tests.planes_in_namespaces import ARP, HUB_ADDRESS, IPV4, PATIENCE, TCP, Frame, await_that, needs_namespaces
from tests.tcp_streams import assemble_streams, find_foreign_bytes
from tests.workers.federation.hospital_planes import (
    PROXY,
    PROXY_ADDRESS,
    SERVER,
    SITES,
    STRICT_PROXY,
    open_hospitals,
    write_clean_tables,
)
from tests.workers.federation.planes import PORT, StudyOnPlanes

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("browser"), needs_namespaces]

ROUNDS = 4
STEP_SECONDS = 0.1  # seconds that the server works between two looks
SLOW = 2 * PATIENCE  # five engines start at once, some of them twice
CANARY, CANARY_NUMBER = "canary-7f3a91c2e5", 133.171717
READ_TAGS = """
import json
from apps.ml.registry.models import ModelVersion
version = ModelVersion.objects.get()
print(json.dumps([version.pk, dict(version.tags.values_list("key", "value"))]))
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with open_hospitals(tmp_path_factory.mktemp("hospitals")) as network:
        yield network


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Those of the hospitals; Hungary's first row is a canary."""
    canary = {"trestbps": str(CANARY_NUMBER), "thal": CANARY}
    return write_clean_tables(tmp_path_factory.mktemp("tables"), changes={"hungary": canary})


def test_four_hospitals_train_one_model_and_only_the_study_leaves_them(network, tables):
    planes = network.planes
    before = {site: len(network.read_frames(site)) for site in SITES}
    study = StudyOnPlanes("heart", build_heart_study(rounds=ROUNDS, local_epochs=3), planes["cleveland"])
    for site in SITES:
        study.enrol(site, planes[site], tables[site])
    study.start(join_seconds=300, round_seconds=120)
    for site in SITES:
        study.join(site, proxy=PROXY if site == "switzerland" else "")
    updates = kill_in_each_phase(study)
    study.await_end(seconds=SLOW)
    check_facts(study)
    check_ledgers(study)
    check_traffic({site: network.read_frames(site)[before[site] :] for site in SITES})
    check_canary(study, updates)
    check_figures(study.read()["result"])
    check_version(study)


def kill_in_each_phase(study: StudyOnPlanes) -> list[bytes]:
    """kill -9: of the server's worker while it waits for sites, of the server's job and of a site's worker in a round,
    and of the server's job when the last round is over and its result is not yet there. Returns Hungary's updates as
    they are then: the folder of a study that has ended is removed within a minute."""
    host, server = study.host, study.find_server_job()
    host.at_stage(server, "join")
    host.kill("worker", server)
    await_that(lambda: study.count_rounds() >= 1, seconds=SLOW)
    host.kill("shim", server)
    study.sites["hungary"].kill("worker", study.find_job("hungary"))
    step_to_last_round(study, server)
    host.kill("shim", server)
    assert study.read()["state"] == "running"
    return [path.read_bytes() for path in study.sites["hungary"].home.glob("federation/*/*/hungary/update-*")]


def step_to_last_round(study: StudyOnPlanes, server: int) -> None:
    """Let the server's job work in short steps, and leave it stopped once its last round is over. Its end is not in the
    same step: every site has to get the model and to answer once more."""

    def step() -> bool:
        processes = study.host.marked(server)
        signal_all(processes, signal.SIGCONT)
        time.sleep(STEP_SECONDS)
        signal_all(processes, signal.SIGSTOP)
        return study.count_rounds() == ROUNDS

    await_that(step, seconds=SLOW, pause=0)


def signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def check_facts(study: StudyOnPlanes) -> None:
    """What the people of each site approved: the code that runs, the rows, what leaves and where to."""
    for site, facts in study.facts.items():
        assert facts["code"] == dict.fromkeys(("study", "installed"), compute_study_code_digest())
        assert (facts["site"], f"{facts['server']['host']}:{facts['server']['port']}") == (site, SERVER)
        assert facts["server"]["authority"] == study.read()["authority"]
        assert facts["data"]["dataset"] == site
        assert facts["egress"]["max_bytes_per_update"] == 1_000_000


def check_ledgers(study: StudyOnPlanes) -> None:
    """Each site's chain verifies, with one update a round; the server counted no others. Its rounds are there once."""
    rounds = study.read()["result"]["rounds"]
    assert [each["round"] for each in rounds] == list(range(1, ROUNDS + 1))
    assert [each["number"] for each in study.read_rounds()] == list(range(1, ROUNDS + 1))
    for site in SITES:
        entries = [LedgerEntry.model_validate(line) for line in study.read_ledger(site)]
        verify_entries(entries, public_key=study.read_site(site)["public_key"])
        updates = [(entry.round, entry.digest) for entry in entries if entry.kind == "update"]
        assert len({number for number, _ in updates}) == len(updates)
        assert {(each["round"], each["updates"][site]) for each in rounds if site in each["updates"]} <= set(updates)
        assert {entry.kind for entry in entries} == {"join", "update", "evaluation"}
    server = study.read_server_job()
    assert sorted(output["slot"] for output in server["outputs"]) == ["federation", "model"]
    assert int(server["attempt"].split()[0]) == 4


def check_traffic(frames: dict[str, list[Frame]]) -> None:
    """A site speaks with the server alone, or with its proxy, and the server with those that called it: all in TLS."""
    server, proxy = ("10.83.0.1", PORT), (PROXY_ADDRESS, 3128)
    for site in SITES:
        packets = [frame for frame in frames[site] if frame.kind != ARP]
        assert {(frame.kind, frame.protocol) for frame in packets} == {(IPV4, TCP)}
        streams = assemble_streams(packets)
        for (source, target), stream in streams.items():
            if site == "cleveland":
                assert source == server
                assert target[0] in ("10.83.0.2", "10.83.0.3", HUB_ADDRESS)
            else:
                assert target == (proxy if site == "switzerland" else server)
            head, end = f"CONNECT {SERVER} HTTP/1.1\r\n".encode(), b"\r\n\r\n"
            if site == "switzerland":
                assert stream.startswith(head)
                stream = stream.partition(end)[2]
            assert find_foreign_bytes(stream) == b""
        assert sum(map(len, streams.values())) > ROUNDS * 1000


def check_canary(study: StudyOnPlanes, updates: list[bytes]) -> None:
    """The planted row is on its own plane, and not in the updates before they were encrypted; the other planes have
    neither it nor its number anywhere."""
    traces = (CANARY.encode(), str(CANARY_NUMBER).encode())
    assert all(find_files(study.sites["hungary"].home, trace) for trace in traces)
    for site in SITES:
        if site != "hungary":
            assert [path for trace in traces for path in find_files(study.sites[site].home, trace)] == []
    sent = {entry["digest"] for entry in study.read_ledger("hungary") if entry["kind"] == "update"}
    assert {sha256(update).hexdigest() for update in updates} <= sent
    assert updates
    assert not any(trace in update for trace in traces for update in updates)


def find_files(folder: Path, data: bytes) -> list[str]:
    """Files that hold the bytes. The plane runs meanwhile: what is removed under way holds nothing any more."""
    found = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and data in path.read_bytes():
                    found.append(str(path))
    return found


def check_figures(result: dict) -> None:
    """Each site reports its quality with an interval, beside that of a model of its own rows. Few rounds: no more is
    asked of the one than that it has learned."""
    for site in result["sites"]:
        assert set(site["metrics"]) == {"federated", "local"}
        assert all(set(auc) >= {"value", "low", "high"} for auc in site["metrics"].values())
    assert sum(site["metrics"]["federated"]["value"] for site in result["sites"]) / len(SITES) > 0.75


def check_version(study: StudyOnPlanes) -> None:
    """The result becomes a model version once, whose document and lineage name sites, rounds and budget."""
    host = study.host.plane
    version = host.post(f"{study.path}/register", {"model": "heart-risk"})["result_version"]
    assert version
    number, tags = study.host.ask(READ_TAGS)
    assert tags["federation.sites"] == ", ".join(SITES)
    assert (tags["federation.rounds"], tags["federation.epsilon_budget"]) == (str(ROUNDS), "none")
    graph = json.dumps(host.get("/lineage", type="model_version", id=number))
    assert all(f"heart: {site}" in graph for site in SITES)


def test_a_proxy_that_refuses_ends_the_job_and_nothing_leaves(network, tables):
    planes = network.planes
    study = StudyOnPlanes("refused", build_heart_study(rounds=2), planes["cleveland"], port=PORT + 1)
    study.enrol("switzerland", planes["switzerland"], tables["switzerland"])
    study.join("switzerland", proxy=STRICT_PROXY)
    job = await_that(lambda: (job := study.read_job("switzerland"))["state"] == "failed" and job)
    error = job["error"]
    assert (error["code"], error["field"]) == ("proxy_refused", "/proxy")
    assert all(part in error["message"] for part in (STRICT_PROXY, f"10.83.0.1:{PORT + 1}", "403"))
    assert [entry["kind"] for entry in study.read_ledger("switzerland")] == ["join"]
    planes["switzerland"].plane.post(f"/jobs/{job['id']}/retry", {})
    planes["switzerland"].plane.post(f"{study.paths['switzerland']}/leave", {"reason": "The proxy stays as it is."})
    # An attempt that was claimed in between finds that the site has left, before the job is cancelled.
    ended = await_that(lambda: (job := study.read_job("switzerland"))["state"] not in ("queued", "running") and job)
    assert ended["state"] == "cancelled" or ended["error"]["code"] == "not_in_study"
    assert list(planes["switzerland"].home.glob("federation/*/*/*/*.key")) == []

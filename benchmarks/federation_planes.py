"""Four real hospitals as four planes in networks of their own: one model over them, against each alone and all pooled.

The whole way at full size, as people go it: invitations carried, approved at each site, jobs in their sandboxes, mutual
TLS, Switzerland through a proxy; every frame that leaves a site is kept. Needs root.

    python benchmarks/federation_planes.py [--epsilon 8 ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from deepseek.federated.features import read_site_data
from deepseek.federated.metrics import measure_weights
from deepseek.federated.spec import StudySpec
from tests.deepseek.federated.hospitals import build_heart_study, pool, train_alone
from tests.planes_in_namespaces import ARP, BridgedNetwork
from tests.tcp_streams import assemble_streams, find_foreign_bytes
from tests.workers.federation.hospital_planes import PROXY, SITES, open_hospitals, write_clean_tables
from tests.workers.federation.planes import StudyOnPlanes

PATIENCE = 1200.0


def run_study(
    network: BridgedNetwork, name: str, spec: StudySpec, tables: dict[str, Path]
) -> tuple[StudyOnPlanes, list[float]]:
    """The study, completed and registered; and the seconds until all sites were approved, and until its result."""
    started = time.monotonic()
    study = StudyOnPlanes(name, spec, network.planes["cleveland"])
    for site in SITES:
        study.enrol(site, network.planes[site], tables[site])
    approved = time.monotonic()
    study.start(join_seconds=600, round_seconds=600)
    for site in SITES:
        study.join(site, proxy=PROXY if site == "switzerland" else "")
    study.await_end(seconds=PATIENCE)
    ended = time.monotonic()
    study.host.plane.post(f"{study.path}/register", {"model": name})
    return study, [approved - started, ended - approved]


def show_quality(spec: StudySpec, result: dict[str, Any], tables: dict[str, Path]) -> None:
    data = {
        site: read_site_data(path, spec.schema_, holdout=spec.holdout, seed=spec.seed) for site, path in tables.items()
    }
    pooled = train_alone(spec, pool(data))
    rows: dict[str, list[float]] = {"local": [], "federated": [], "pooled": []}
    print(f"{'site':12} rows {'local':24} {'federated':24} {'pooled':24}")
    for site in result["sites"]:
        part, metrics = data[site["name"]], site["metrics"]
        local = metrics["local"] or measure_weights(spec, train_alone(spec, part.training), part.holdout).to_dict()
        measured = {"local": local, "federated": metrics["federated"]}
        measured["pooled"] = measure_weights(spec, pooled, part.holdout).to_dict()
        for name, auc in measured.items():
            rows[name].append(auc["value"])
        texts = [f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})" for auc in measured.values()]
        print(f"{site['name']:12} {len(part.training):4} " + " ".join(f"{text:24}" for text in texts))
    print("mean         " + "  ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in rows.items()))


def show_traffic(network: BridgedNetwork, study: StudyOnPlanes) -> None:
    """Of all studies so far; the updates are those of this one."""
    print("site         frames     bytes  in streams  of updates  other than TLS and CONNECT")
    for site in SITES:
        frames = network.read_frames(site)
        streams = assemble_streams(frame for frame in frames if frame.kind != ARP)
        foreign = [find_foreign_bytes(skip_connect(stream)) for stream in streams.values()]
        updates = sum(entry["bytes"] for entry in study.read_ledger(site) if entry["kind"] == "update")
        sizes = (len(frames), sum(len(frame.data) for frame in frames), sum(map(len, streams.values())), updates)
        print(f"{site:12} {sizes[0]:6,} {sizes[1]:9,}  {sizes[2]:10,}  {sizes[3]:10,}  {sum(map(len, foreign))} bytes")


def skip_connect(stream: bytes) -> bytes:
    return stream.partition(b"\r\n\r\n")[2] if stream.startswith(b"CONNECT ") else stream


def main() -> None:
    parser = argparse.ArgumentParser(description="A federated study over four planes.")
    parser.add_argument("--epsilon", type=float, nargs="*", default=[], help="privacy budgets of further studies")
    with tempfile.TemporaryDirectory() as folder:
        tables = write_clean_tables(Path(folder, "tables"))
        with open_hospitals(Path(folder)) as network:
            for epsilon in [None, *parser.parse_args().epsilon]:
                show_study(network, epsilon, tables)


def show_study(network: BridgedNetwork, epsilon: float | None, tables: dict[str, Path]) -> None:
    spec = build_heart_study(privacy={"epsilon": epsilon, "delta": 1e-3} if epsilon else None)
    study, seconds = run_study(network, f"heart-{epsilon or 'none'}".replace(".", "-"), spec, tables)
    document = study.read()
    result = document["result"]
    print(f"\n{spec.rounds} rounds, budget {epsilon or 'none'}, model version {document['result_version']}")
    print(f"{seconds[0]:.0f} s until four sites were approved, {seconds[1]:.0f} s from there to the result")
    show_quality(spec, result, tables)
    spent = [site["epsilon"] for site in result["sites"] if site["epsilon"] is not None]
    print(f"epsilon spent at most: {max(spent):.2f}" if spent else "no budget")
    show_traffic(network, study)


if __name__ == "__main__":
    main()

"""Seconds until a lone server of an endpoint answers again after kill -9 under load, and where they go.

One node, one replica, no second one that would answer meanwhile: the runner of the node's worker keeps it
(workers/endpoints/replica.py). The model is served as it was trained (by PyTorch) and in its form for ONNX Runtime.
Cases: the node has a process that has loaded the packages and forks servers; it has none, as where that one was
killed too; the server was adopted, with its state file, by another runner; it is killed twice, the second time as
soon as it answers again.
`away` is what 8 connections under load see; `noticed` is from the signal to the keeper's log line, `process` from there
to the first answer.

    python benchmarks/serve_recovery.py [--rounds 5] [--load 2]

`--load` adds that many processes that take all the processor time they get.
"""

import argparse
import logging
import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

from serve_load import build_request, build_row, drive

CONNECTIONS, LOAD_SECONDS, PATIENCE = 8, 6.0, 60.0
PORT = 8491
CASES = ("forked", "not forked", "adopted", "killed twice")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--cases", default=",".join(CASES))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, spin(arguments.load):
        os.environ |= {"PLANE_HOME": name, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        import django

        django.setup()
        logging.disable(logging.WARNING)
        from serve_peers import make_models

        models = Path(name) / "models"
        models.mkdir()
        make_models(models)
        forms = {"as trained": models, "ONNX": models / "onnx"}
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {arguments.rounds} rounds")
        with multiprocessing.get_context("spawn").Pool(1) as client:
            client.apply(os.getpid)
            for form, folder in forms.items():
                show_split(form, folder)
                for case in arguments.cases.split(","):
                    rows = [measure(case, folder, Path(name) / "node", client) for _ in range(arguments.rounds)]
                    show(form, case, rows)


@contextmanager
def spin(count: int):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def show(form: str, case: str, rows: list[tuple[float, float]]) -> None:
    away, noticed = ([row[place] for row in rows] for place in (0, 1))
    process = [total - first for total, first in rows]
    parts = ", ".join(
        f"{name} {statistics.median(values):.2f} s (most {max(values):.2f})"
        for name, values in (("away", away), ("noticed", noticed), ("process", process))
    )
    print(f"{form}, {case}: {parts}", flush=True)


def show_split(form: str, folder: Path) -> None:
    """What a server does before it answers, each in a process of its own: its packages, then its model."""
    code = (
        "import sys, time; b = time.perf_counter(); import deepseek.serve.command, uvicorn, deepseek.serve.access, "
        "deepseek.serve.admin, deepseek.serve.loading, deepseek.serve.server, deepseek.serve.swapping;"
        "from pathlib import Path; from deepseek.serve.options import *;"
        "from deepseek.serve.app import create_executor;"
        "a = time.perf_counter(); m = sys.argv[1];\n"
        "exec('import torch' if m.endswith('models') else 'import onnxruntime'); r = time.perf_counter();\n"
        "o = ServeOptions(); from deepseek.serve.loading import load_model;"
        "load_model(ModelSource('m', Path(m), '1'), o, create_executor(o));"
        "print(a - b, r - a, time.perf_counter() - r)"
    )
    rows = []
    for _ in range(3):
        words = [sys.executable, "-c", code, str(folder)]
        began = time.perf_counter()
        output = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
        parts = [float(part) for part in output.split()]
        rows.append([*parts, time.perf_counter() - began - sum(parts)])
    web, runtime, model, rest = (statistics.median(values) for values in zip(*rows, strict=True))
    print(f"{form}: packages {web:.2f} s, runtime {runtime:.2f} s, model {model:.2f} s, interpreter {rest:.2f} s")


def measure(case: str, form: Path, folder: Path, client: Pool) -> tuple[float, float]:
    """(seconds without an answer, seconds until the keeper noticed)."""
    from workers.endpoints.replica import ReplicaRunner, ReplicaTarget
    from workers.endpoints.server_process import ForkServer
    from workers.endpoints.staging import VersionFiles

    version = VersionFiles(1, 1, (("model.json", form.name),))
    staged = folder / "versions" / version.folder_name
    staged.mkdir(parents=True)
    folder.chmod(0o700)
    for path in form.iterdir():
        if path.is_file():
            shutil.copy(path, staged)
    target = ReplicaTarget(endpoint="m", address="127.0.0.1", port=PORT, is_active=True, version=version)
    fork_server = None if case == "not forked" else ForkServer(folder)
    notices: list[float] = []

    class Runner(ReplicaRunner):
        def note_death(self) -> None:
            notices.append(time.perf_counter())
            super().note_death()

    runner = Runner(1, folder, target, fork_server)
    try:
        runner.start()
        wait_until_serving(runner)
        if case == "adopted":
            runner.ended.set()
            runner.join()
            fork_server.close()
            fork_server = ForkServer(folder)
            runner = Runner(1, folder, None, fork_server)
            assert runner.is_adopted
            runner.start()
            wait_until_serving(runner)
        request = build_request([build_row()])
        if case == "killed twice":
            os.kill(runner.process.pid, signal.SIGKILL)
            time.sleep(0.3)
            wait_until_serving(runner)
        time.sleep(1 if case == "killed twice" else 5)
        under_way = client.apply_async(drive, (PORT, CONNECTIONS, LOAD_SECONDS, request, True))
        time.sleep(0.5)
        notices.clear()
        began = time.perf_counter()
        os.kill(runner.process.pid, signal.SIGKILL)
        load = under_way.get()
        return load.away, notices[0] - began
    finally:
        runner.ended.set()
        runner.join()
        if runner.process is not None:
            runner.process.send(signal.SIGKILL)
            runner.process.wait(5)
        if fork_server is not None:
            fork_server.close()
        shutil.rmtree(folder)


def wait_until_serving(runner) -> None:
    end = time.monotonic() + PATIENCE
    while runner.state != "serving":
        if time.monotonic() > end:
            raise SystemExit(f"the server does not answer: {runner.error}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()

"""Requests per second of `deepseek serve` against the source text's own service, with one model, in one run.

The text (4.3) answers with FastAPI, torch.jit.load and tolist; it runs here as written, under the same uvicorn with the
same options. Two servers of one worker each, one load client in a third process, 16 connections that each send a
request of one row as soon as the last was answered. The servers take turns; the first turn of each warms it up. The
processor time of the server per request is what other work on the machine changes least.

    python benchmarks/serve.py [--seconds 1] [--rounds 15] [--connections 16]
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from deepseek.models.manifest import MlpArchitecture
from deepseek.models.network import build_network, save_network

INPUTS, HIDDEN, OUTPUTS = 16, 64, 2
TEXT = """
from fastapi import FastAPI
import torch
app = FastAPI()
model = torch.jit.load("model.pt")
@app.post("/predict")
async def predict(data: dict):
    input_tensor = torch.tensor(data["features"])
    with torch.no_grad():
        output = model(input_tensor)
    return {"prediction": output.tolist()}
"""
OURS, THEIRS = "deepseek serve", "the text's service"


def make_models(folder: Path) -> None:
    """The same weights as a model folder and as TorchScript."""
    architecture = MlpArchitecture(
        inputs=INPUTS, hidden=[HIDDEN], outputs=OUTPUTS, activation="relu", output="probabilities"
    )
    torch.manual_seed(0)
    network = build_network(architecture).eval()
    names = [f"x{i}" for i in range(INPUTS)]
    about = {"task": "classification", "target": "y", "features": names, "classes": ["no", "yes"]}
    save_network(network, folder, architecture=architecture, inputs={}, spec={}, **about)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, INPUTS)).save(str(folder / "model.pt"))
    (folder / "text.py").write_text(TEXT)


@contextmanager
def served(words: list[str], folder: Path, port: int):
    """A server process, from its first answer on; stopped at the end."""
    process = subprocess.Popen([*words, "--port", str(port)], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                asyncio.run(drive(port, 1, 0.01))
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{words} does not answer") from None
                time.sleep(0.1)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def request() -> bytes:
    """One row; in a list of rows, which both understand."""
    draw = torch.Generator().manual_seed(1)
    row = [round(value, 4) for value in torch.randn(INPUTS, generator=draw).tolist()]
    body = json.dumps({"features": [row]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length[15:]))


async def drive(port: int, connections: int, seconds: float) -> tuple[float, list[float], bytes]:
    """Seconds that it took, seconds of each request, and the last answer."""
    sent, taken, last = request(), [], b""
    begin = time.perf_counter()

    async def one() -> None:
        nonlocal last
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < begin + seconds:
            writer.write(sent)
            last = await answer(reader)
            taken.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return time.perf_counter() - begin, taken, last


def load(port: int, connections: int, seconds: float) -> tuple[float, list[float], bytes]:
    return asyncio.run(drive(port, connections, seconds))


def cpu_seconds(pid: int) -> float:
    """Processor time that a process used so far (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Turn:
    """One server's: requests per second, p95 in milliseconds, and microseconds of processor time per request."""

    rate: float
    p95: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--port", type=int, default=8471, help="this one and the next")
    arguments = parser.parse_args()
    script = str(Path(sys.executable).with_name("deepseek"))
    options = ["--log-level", "warning", "--no-access-log", "--no-server-header", "--lifespan", "off"]
    ports = {OURS: arguments.port, THEIRS: arguments.port + 1}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        make_models(folder)
        ours, theirs = [script, "serve", str(folder)], [sys.executable, "-m", "uvicorn", "text:app", *options]
        pids = {
            OURS: stack.enter_context(served(ours, folder, ports[OURS])),
            THEIRS: stack.enter_context(served(theirs, folder, ports[THEIRS])),
        }
        client = stack.enter_context(multiprocessing.get_context("spawn").Pool(1))
        turns, answers = {OURS: [], THEIRS: []}, {}
        for number in range(arguments.rounds + 1):
            for server in (OURS, THEIRS) if number % 2 else (THEIRS, OURS):
                before = cpu_seconds(pids[server])
                words = (ports[server], arguments.connections, arguments.seconds)
                seconds, taken, answers[server] = client.apply(load, words)
                used = cpu_seconds(pids[server]) - before
                p95 = statistics.quantiles(taken, n=20)[-1]
                if number:
                    turns[server].append(Turn(len(taken) / seconds, p95 * 1e3, used / len(taken) * 1e6))
    show(turns, answers)


def show(turns: dict[str, list[Turn]], answers: dict[str, bytes]) -> None:
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; medians of {len(turns[OURS])} turns")
    for server, all_turns in turns.items():
        rate, p95, cpu = (statistics.median(getattr(t, name) for t in all_turns) for name in ("rate", "p95", "cpu"))
        print(f"{server}: {rate:,.0f} requests/s, p95 {p95:.2f} ms, {cpu:.0f} us of processor time per request")
    for name, ours_over_theirs in (("rate", True), ("p95", False), ("cpu", False)):
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(turns[OURS], turns[THEIRS], strict=True)]
        ratios = [a / b if ours_over_theirs else b / a for a, b in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"times better, {name}: {middle:.2f} (half of the turns: {low:.2f} to {high:.2f})")
    first, second = (json.loads(answers[server])["prediction"][0] for server in (OURS, THEIRS))
    print(
        f"largest difference of the two predictions: {max(abs(a - b) for a, b in zip(first, second, strict=True)):.1g}"
    )


if __name__ == "__main__":
    main()

"""Requests per second of `deepseek serve` against the source text's own service, with one model, in one run.

The text (4.3) answers with FastAPI, torch.jit.load and tolist; it runs here as written, under the same uvicorn (with
uvloop and httptools, which it takes by itself) with the same options. Beside them an ASGI application that does
nothing. The model is served in its form for ONNX Runtime, and as it was trained.
One worker each, a load client in a process of its own (serve_load.py), 16 connections that each send a request
of one row as soon as the last was answered. The servers take turns; the first turn of each warms it up. The processor
time of a server per request is what other work on the machine changes least.

    python benchmarks/serve.py [--seconds 1] [--rounds 12] [--connections 16] [--peers litserve,bentoml,mlflow]

`--peers` adds servers that are installed in another environment, whose Python `--peer-python` names. Then, of `deepseek
serve` alone: versions that are swapped under load, a kill -9 under load with a start right after it, and the memory of
ten models more in one process.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

from serve_load import build_request, build_row, drive
from serve_peers import make_models

OURS, TRAINED = "deepseek serve, ONNX", "deepseek serve, as trained"
THEIRS, ECHO = "the text's service", "an ASGI application that does nothing"
SCRIPT = str(Path(sys.executable).with_name("deepseek"))
UVICORN = ["--log-level", "warning", "--no-access-log", "--no-server-header", "--lifespan", "off"]
FIRST_ANSWER_SECONDS = 90
SWAP_SECONDS = 8
KILL_SECONDS = 8


@dataclass(frozen=True)
class Server:
    """How one is started, at a port, and what is sent to it."""

    words: list[str]
    request: bytes
    port: int


@contextmanager
def served(server: Server, folder: Path):
    """A server process, from its first answer on, in a session of its own; stopped at the end."""
    environment = {**os.environ, "PATH": f"{Path(server.words[0]).parent}:{os.environ['PATH']}"}  # mlflow calls uvicorn
    process = subprocess.Popen(
        server.words,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_answer(server, process)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def wait_for_answer(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + FIRST_ANSWER_SECONDS
    while True:
        try:
            if drive(server.port, 1, 0.01, server.request).last:
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{server.words} does not answer")
        time.sleep(0.1)


def read_session_seconds(leader: int) -> float:
    """Processor time of a process and of all of its session (proc(5): session, utime and stime)."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def read_resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Turn:
    """One server's: requests per second, p95 in milliseconds, and microseconds of processor time per request."""

    rate: float
    p95: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--port", type=int, default=8471, help="this one and the next")
    parser.add_argument("--peers", default="", help="of litserve, bentoml and mlflow")
    parser.add_argument("--peer-python", default=sys.executable, help="of the environment that they are installed in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_models(folder)
        servers = build_servers(folder, arguments)
        turns, answers = take_turns(servers, folder, arguments)
        show(turns, answers)
        port = arguments.port + len(servers)
        show_swaps(folder, port, arguments.connections)
        show_kill(folder, port + 1, arguments.connections)
        show_memory(folder, port + 2)


def build_servers(folder: Path, arguments: argparse.Namespace) -> dict[str, Server]:
    rows, port = [build_row()], arguments.port
    uvicorn = [sys.executable, "-m", "uvicorn"]
    plain = build_request(rows)
    servers = {
        OURS: Server([SCRIPT, "serve", str(folder / "onnx"), "--port", f"{port}"], plain, port),
        THEIRS: Server([*uvicorn, "text:app", *UVICORN, "--port", f"{port + 1}"], plain, port + 1),
        ECHO: Server([*uvicorn, "echo:app", *UVICORN, "--port", f"{port + 2}"], plain, port + 2),
        TRAINED: Server([SCRIPT, "serve", str(folder), "--port", f"{port + 3}"], plain, port + 3),
    }
    peers = [peer for peer in arguments.peers.split(",") if peer]
    here, python = Path(__file__).parent, arguments.peer_python
    for at, peer in enumerate(peers, start=port + 4):
        if peer == "litserve":
            servers[peer] = Server([python, str(here / "serve_peers.py"), peer, f"{at}"], plain, at)
        elif peer == "bentoml":
            words = [python, "-m", "bentoml", "serve", "serve_peers:Bento", "--port", f"{at}", "--host", "127.0.0.1"]
            shutil.copy(here / "serve_peers.py", folder)
            servers[peer] = Server(words, plain, at)
        elif peer == "mlflow":
            code = f"import sys; sys.path.insert(0, {str(here)!r}); import pathlib, serve_peers; "
            code += f"serve_peers.save_mlflow(pathlib.Path({str(folder)!r}))"
            subprocess.run([python, "-c", code], check=True, cwd=folder, capture_output=True)
            words = [python, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow"), "--env-manager", "local"]
            words += ["--port", f"{at}", "--workers", "1"]
            servers[peer] = Server(words, build_request(rows, "/invocations", "inputs"), at)
        else:
            raise SystemExit(f"--peers knows litserve, bentoml and mlflow, not {peer}")
    return servers


def take_turns(
    servers: dict[str, Server], folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, list[Turn]], dict[str, bytes]]:
    turns: dict[str, list[Turn]] = {name: [] for name in servers}
    answers: dict[str, bytes] = {}
    with ExitStack() as stack:
        pids = {name: stack.enter_context(served(server, folder)) for name, server in servers.items()}
        client = stack.enter_context(multiprocessing.get_context("spawn").Pool(1))
        for number in range(arguments.rounds + 1):
            for name in list(servers) if number % 2 else reversed(list(servers)):
                before = read_session_seconds(pids[name])
                words = (servers[name].port, arguments.connections, arguments.seconds, servers[name].request)
                load = client.apply(drive, words)
                used = read_session_seconds(pids[name]) - before
                if load.failed:
                    raise SystemExit(f"{name}: {load.failed} requests failed: {load.last[:200]!r}")
                answers[name] = load.last
                p95 = statistics.quantiles(load.taken, n=20)[-1]
                if number:
                    rate = len(load.taken) / load.seconds
                    turns[name].append(Turn(rate, p95 * 1e3, used / len(load.taken) * 1e6))
    return turns, answers


def show(turns: dict[str, list[Turn]], answers: dict[str, bytes]) -> None:
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; medians of {len(turns[OURS])} turns")
    for server, all_turns in turns.items():
        rate, p95, cpu = (statistics.median(getattr(t, name) for t in all_turns) for name in ("rate", "p95", "cpu"))
        print(f"{server}: {rate:,.0f} requests/s, p95 {p95:.2f} ms, {cpu:.0f} us of processor time per request")
    for name, ours_over_theirs in (("rate", True), ("p95", False), ("cpu", False)):
        print(f"times better, {name}: {describe_ratio(turns[OURS], turns[THEIRS], name, ours_over_theirs)}")
    for server in turns:
        if server not in (OURS, THEIRS):
            ratios = (describe_ratio(turns[OURS], turns[server], *way) for way in (("rate", True), ("cpu", False)))
            print(f"against {server}: {' of its rate, '.join(ratios)} of its requests in the same processor time")
    first, second = (json.loads(answers[server])["prediction"][0] for server in (OURS, THEIRS))
    print(
        f"largest difference of the two predictions: {max(abs(a - b) for a, b in zip(first, second, strict=True)):.1g}"
    )


def describe_ratio(ours: list[Turn], theirs: list[Turn], name: str, ours_over_theirs: bool) -> str:
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(ours, theirs, strict=True)]
    ratios = [a / b if ours_over_theirs else b / a for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} (half of the turns: {low:.2f} to {high:.2f})"


def start_client(client: Pool, server: Server) -> None:
    """Wait until the client's process has imported what it needs (seconds), so that its next load begins at once."""
    client.apply(drive, (server.port, 1, 0.01, server.request))


def show_swaps(folder: Path, port: int, connections: int) -> None:
    """Failed requests while versions take turns: each is loaded, checked and installed under load."""
    control = folder / "control"
    control.mkdir(mode=0o700)
    path, request = control / "admin.sock", build_request([build_row()])
    words = [SCRIPT, "serve", f"mlp:1={folder / 'onnx'}", "--port", f"{port}", "--admin-socket", str(path)]
    server = Server(words, request, port)
    with served(server, folder), multiprocessing.get_context("spawn").Pool(1) as client:
        start_client(client, server)
        under_way = client.apply_async(drive, (port, connections, SWAP_SECONDS, request))
        taken, end = [], time.monotonic() + SWAP_SECONDS - 1
        while time.monotonic() < end:
            version = len(taken) + 2
            form = folder if version % 2 == 0 else folder / "onnx"
            begin = time.perf_counter()
            answer = put(path, "/admin/models/mlp", {"folder": str(form), "version": str(version)})
            taken.append(time.perf_counter() - begin)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode())
            time.sleep(0.3)
        load = under_way.get()
    p99 = statistics.quantiles(load.taken, n=100)[-1]
    print(
        f"swaps under load: {len(taken)} in {SWAP_SECONDS} s, {load.failed} of {len(load.taken):,} requests failed; "
        f"a swap takes {statistics.median(taken):.2f} s, p99 of the requests {p99 * 1e3:.1f} ms"
    )


def put(path: Path, address: str, document: dict[str, str]) -> bytes:
    """One PUT over a Unix socket."""
    body = json.dumps(document).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        head = f"PUT {address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def show_kill(folder: Path, port: int, connections: int) -> None:
    """kill -9 under load, then a start at once, as by whatever keeps a server alive; the load goes on throughout."""
    server = Server([SCRIPT, "serve", str(folder / "onnx"), "--port", f"{port}"], build_request([build_row()]), port)
    with multiprocessing.get_context("spawn").Pool(1) as client:
        with served(server, folder) as pid:
            start_client(client, server)
            under_way = client.apply_async(drive, (port, connections, KILL_SECONDS, server.request, True))
            time.sleep(0.5)
            os.killpg(pid, signal.SIGKILL)
        with served(server, folder):
            load = under_way.get()
    print(
        f"kill -9 under load: {load.failed - load.refused} connections lost and {load.refused} attempts refused, "
        f"{len(load.taken):,} requests answered; started again, it answers after {load.away:.2f} s"
    )


def show_memory(folder: Path, port: int) -> None:
    """Resident memory of one model, and of ten more in the same process, each asked once."""
    sizes = []
    for count in (1, 11):
        words = [f"m{place}={folder}" for place in range(count)]
        server = Server([SCRIPT, "serve", *words, "--port", f"{port}"], build_request([build_row()]), port)
        with served(server, folder) as pid:
            for place in range(count):
                drive(port, 1, 0.01, build_request([build_row()], f"/models/m{place}/predict"))
            sizes.append(read_resident_bytes(pid))
    one, many = sizes
    print(f"memory: {one / 1e6:.0f} MB with one model, {(many - one) / 10 / 1e6:.2f} MB for each further one")


if __name__ == "__main__":
    main()

"""Resident memory of what runs on a device: the agent, and the service of a model without PyTorch.

    python benchmarks/agent_memory.py [--prefix FOLDER] [--requests 200]

FOLDER is what `install.sh --prefix FOLDER` of `make agent` filled; without it the folder of this architecture in
dist/agent is installed into a temporary one. A small classifier is made, quantized (which also writes it as ONNX) and
compiled here, and served by the device's programs and, as trained, by those of this environment. Each process answers
the requests one after the other before it is measured; resident memory holds the pages of libraries that processes
share, the proportional set size only a share of these. The agent is enrolled nowhere and asks a plane that is away.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
HERE = Path(sys.executable).parent
ROW = json.dumps({"features": [[1, 2, 3, 4, 5]]}).encode()
TOKEN = "dse_" + "a" * 44
SECONDS = 60.0


def read_memory(pid: int) -> tuple[float, float]:
    """Resident memory and proportional set size of a process, in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return sizes["Rss"] * 1024 / 1e6, sizes["Pss"] * 1024 / 1e6


def make_models(folder: Path) -> dict[str, Path]:
    """The same classifier as trained, as ONNX and compiled for this machine."""
    from tests.deepseek.models.making import make_model

    make_model(folder / "trained", task="classification")
    deepseek = [str(HERE / "deepseek")]
    for command in ("quantize", "compile"):
        words = [*deepseek, command, str(folder / "trained"), "-o", str(folder / command)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manifests = (folder / "quantize").rglob("model.json")
    onnx = next(path.parent for path in manifests if json.loads(path.read_text())["variant"] == "fp32-onnx")
    return {"as trained": folder / "trained", "ONNX": onnx, "compiled": folder / "compile"}


def measure_service(program: Path, model: Path, requests: int) -> tuple[float, float]:
    """Of `deepseek serve` after so many requests."""
    command = [str(program), "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        for _ in range(requests):
            urllib.request.urlopen(f"{address}/predict", data=ROW, timeout=SECONDS).read()
        memory = read_memory(process.pid)
        process.terminate()
    return memory


def measure_agent(program: Path, home: Path, seconds: float) -> tuple[float, float]:
    """Of an agent that has polled for so long a plane that is away."""
    words = ["--plane", "http://127.0.0.1:9", "--enrol", TOKEN, "--name", "measured", "--home", str(home)]
    with subprocess.Popen([str(program), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        memory = read_memory(process.pid)
        process.terminate()
    return memory


def install(prefix: Path) -> None:
    script = ROOT / "dist/agent" / platform.machine() / "install.sh"
    subprocess.run([str(script), "--prefix", str(prefix), "--python", sys.executable], check=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", type=Path)
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        prefix = arguments.prefix or Path(scratch, "opt")
        if arguments.prefix is None:
            install(prefix)
        models, device = make_models(Path(scratch)), prefix / "current/bin"
        rows = {"agent, no model": measure_agent(device / "deepseek-agent", Path(scratch, "home"), 10)}
        for name in ("ONNX", "compiled"):
            rows[f"serve, {name}, on a device"] = measure_service(device / "deepseek", models[name], arguments.requests)
        for name, model in models.items():
            rows[f"serve, {name}, all installed"] = measure_service(HERE / "deepseek", model, arguments.requests)
    print("| process | resident, MB | proportional, MB |\n|---|---|---|")
    for name, (resident, proportional) in rows.items():
        print(f"| {name} | {resident:.0f} | {proportional:.0f} |")


if __name__ == "__main__":
    main()

"""Start the ranks of this node by torchrun, and pass on what the first rank reports.

``--max-restarts=0`` and the static rendezvous: a rank that fails ends all of them, and what starts them again is the
next attempt of the job, from its checkpoint. The rendezvous store lives in the torchrun of the first node, outside the
ranks.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from deepseek.job import EngineError, Output, Report, Result
from deepseek.messages import restore_message
from deepseek.torchrun.placement import Placement, read_placement

ROOT = Path(__file__).resolve().parents[2]  # of the packages, which a torchrun of its own has to find
READ_SECONDS = 0.1
STOP_SECONDS = 10.0
LINE_LIMIT = 4 << 20  # bytes of one event


def run_ranks(
    function: str, spec: BaseModel, *, processes: int, inputs: Mapping[str, Path], out: Path, report: Report
) -> Result:
    """Run `function` ("module:name", as an entry point of a capability) in `processes` ranks on each node.

    Returns the result of rank 0; on a node that is not the first an empty one. Raises EngineError if a rank did, else
    RuntimeError if one failed.
    """
    placement = read_placement()
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.ranks-", dir=out.parent))
    try:
        request = folder / "request.json"
        request.write_text(
            json.dumps(
                {
                    "function": function,
                    "spec_class": f"{type(spec).__module__}:{type(spec).__qualname__}",
                    "spec": spec.model_dump_json(),
                    "inputs": {slot: os.path.abspath(path) for slot, path in inputs.items()},
                    "out": str(out),
                    "events": str(folder / "events"),
                }
            )
        )
        os.mkfifo(folder / "events", 0o600)
        command = [*build_command(placement, processes, folder / "logs"), "-m", "deepseek.torchrun.rank"]
        events = RankEvents(report)
        with open_events(folder / "events") as source:
            code = run_torchrun([*command, str(request)], placement, source, events)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return events.conclude(code, is_first=placement.node_rank == 0)


def build_command(placement: Placement, processes: int, logs: Path) -> list[str]:
    """Torchrun for this node, up to the program that it starts; each line of a rank bears the rank's number."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--max-restarts=0"]
    if placement.nodes == 1:
        command.append("--standalone")
    else:
        command += [
            "--rdzv-backend=static",
            f"--nnodes={placement.nodes}",
            f"--node-rank={placement.node_rank}",
            f"--master-addr={placement.address}",
            f"--master-port={placement.port}",
        ]
    return [*command, "--tee=3", f"--log-dir={logs}"]


def build_rank_environment(placement: Placement) -> dict[str, str]:
    """What torchrun and the ranks see: all that this process does, the packages, and the prefix of their lines."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    return {
        **os.environ,
        **placement.as_environment(),
        "PYTHONPATH": path,
        "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[rank ${rank}] ",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


@contextmanager
def open_events(path: Path) -> Iterator[int]:
    """The reading end of the pipe that the ranks open by its name. Held open for both: no rank is the last writer."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run_torchrun(command: list[str], placement: Placement, source: int, events: "RankEvents") -> int:
    """Torchrun's exit code, once it has ended and all that was reported is passed on."""
    process = subprocess.Popen(command, env=build_rank_environment(placement), stdin=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            if select.select([source], [], [], READ_SECONDS)[0]:
                events.take(os.read(source, 1 << 16))
        while select.select([source], [], [], 0)[0]:
            events.take(os.read(source, 1 << 16))
        return process.returncode
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class RankEvents:
    """What the ranks of this node write into the pipe: reports, the result of rank 0, and the first failure."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.result: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LINE_LIMIT:]
        for line in filter(None, lines):
            try:
                self.pass_on(json.loads(line))
            except (ValueError, KeyError, TypeError):
                self.report.log(line[:4096].decode(errors="replace"), level="warning")

    def pass_on(self, event: dict[str, Any]) -> None:
        name = event.pop("event")
        if name == "result":
            self.result = event
        elif name in ("error", "crash"):
            self.failure = self.failure or {"event": name, **event}
        elif name == "checkpoint":
            link = Path(event["path"])
            self.report.checkpoint(link, event["step"])
            link.unlink(missing_ok=True)  # made for this reader; whoever keeps it has it open, or a link of its own
        elif name in ("progress", "metric", "log"):
            getattr(self.report, name)(*event["values"], **event["names"])

    def conclude(self, code: int, *, is_first: bool) -> Result:
        """The result that the ranks' end gives, or the error."""
        failure = self.failure
        if failure is not None and failure["event"] == "error":
            error = EngineError(
                str(failure.get("code")),
                restore_message(failure),
                field=failure.get("field"),
                value=failure.get("value"),
                limit=failure.get("limit"),
                hint=restore_message(failure, "hint") or None,
            )
            raise error
        if failure is not None:
            if failure.get("code") == "out_of_memory":
                raise MemoryError(str(failure.get("message")))
            raise RuntimeError(str(failure.get("message")))
        if code:
            raise RuntimeError(f"torchrun ended with exit code {code}; the log shows which rank failed")
        if self.result is None:
            if is_first:
                raise RuntimeError("rank 0 ended without a result")
            return Result(())
        outputs = tuple(Output(o["slot"], o["path"], o["media_type"], o["meta"]) for o in self.result["outputs"])
        return Result(outputs, self.result["summary"])

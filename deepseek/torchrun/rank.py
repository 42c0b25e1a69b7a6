"""One rank: the program that torchrun starts, ``python -m deepseek.torchrun.rank REQUEST``.

SIGUSR1 writes the stacks of all threads into the log, for whoever finds the job hanging.
"""

import faulthandler
import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from deepseek.job import EngineError, Level, Report, Silent
from deepseek.messages import record_messages

RANK, LOCAL_RANK = "RANK", "LOCAL_RANK"
STACKS_SIGNAL = signal.SIGUSR1


def is_rank() -> bool:
    """Whether torchrun has started this process, or one above it."""
    return RANK in os.environ


class RankReport:
    """The Report of rank 0: lines into a pipe, which the process that started torchrun passes on."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        self.send({"event": "progress", "values": [done, total, unit], "names": {"stage": stage}})

    def metric(self, name: str, value: float, step: int = 0) -> None:
        self.send({"event": "metric", "values": [name, value, step], "names": {}})

    def log(self, text: str, *, level: Level = "info") -> None:
        self.send({"event": "log", "values": [f"[rank 0] {text}"], "names": {"level": level}})

    def checkpoint(self, path: Path, step: int) -> None:
        """Announce a link to the file: the next checkpoint may be renamed over it before the reader has opened it."""
        link = path.with_name(f"{path.name}.rank-{step}")
        link.unlink(missing_ok=True)
        os.link(path, link)
        self.send({"event": "checkpoint", "path": str(link), "step": step})

    def send(self, event: dict[str, Any]) -> None:
        data = json.dumps(event, default=str).encode() + b"\n"
        while data:
            data = data[os.write(self.descriptor, data) :]


def main(path: str) -> NoReturn:
    """Run the request in the file, and end the process.

    The interpreter is not finalized: a thread of gloo that then waits for its lock would end the process by SIGABRT,
    and what the frames of an error hold, a module shared among the ranks, must not be freed after their process group
    (see Training.close). A rank that has failed waits for no other.
    """
    faulthandler.enable()
    faulthandler.register(STACKS_SIGNAL, all_threads=True)
    request = json.loads(Path(path).read_text())
    events = RankReport(os.open(request["events"], os.O_WRONLY | os.O_CLOEXEC))
    rank = int(os.environ[RANK])
    report: Report = Silent() if rank else events
    try:
        spec = load(request["spec_class"]).model_validate_json(request["spec"])
        inputs = {slot: Path(place) for slot, place in request["inputs"].items()}
        result = load(request["function"])(spec, inputs=inputs, out=Path(request["out"]), report=report)
        if rank == 0:
            events.send({"event": "result", **result.as_dict()})
        end_process(0)
    except Exception as error:  # noqa: BLE001 - an engine may raise anything; the job says what
        events.send(describe_failure(error, rank))
        end_process(1)


def end_process(code: int) -> NoReturn:
    """Leave with this exit code; what was printed is not lost."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def describe_failure(error: Exception, rank: int) -> dict[str, Any]:
    """The event that says why a rank ends."""
    if isinstance(error, EngineError):
        return {"event": "error", **error.as_dict()}
    if isinstance(error, MemoryError):
        message = f"rank {rank} ran out of memory"
        return {"event": "crash", "code": "out_of_memory", **record_messages({"message": message})}
    traceback.print_exception(error)
    message = f"rank {rank}: {type(error).__name__}: {error}"[:2000]
    return {"event": "crash", "code": "engine_crashed", "message": message}


def load(name: str) -> Any:
    """The object that "module:name" names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


if __name__ == "__main__":
    main(sys.argv[1])

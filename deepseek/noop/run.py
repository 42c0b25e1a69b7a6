"""Run the job that does nothing."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.noop.spec import NoopSpec

_LINGER_SECONDS = 600
_MIB = 1 << 20


def run(spec: NoopSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Sleep through the steps, then fail as told or write the outputs.

    `inputs`: any slots; the SHA-256 of each file lands in the summary. Outputs: ``note`` (JSON), and ``echo`` (text) if
    the spec has one. Raises EngineError ``asked_to_fail``, RuntimeError or MemoryError, or dies, as ``fail`` says.
    """
    with stage_outputs(out) as stage:
        for number in range(spec.children):
            _start_child(spec.seconds + _LINGER_SECONDS, number, report)
        digests = {slot: _compute_sha256(path) for slot, path in sorted(inputs.items())}
        _sleep_in_steps(spec, report)
        _fail(spec)
        return _write(spec, stage, digests)


def _sleep_in_steps(spec: NoopSpec, report: Report) -> None:
    start, logged = time.monotonic(), 0
    for step in range(1, spec.steps + 1):
        # Sleep until the step's due time, so that the sum does not drift with the number of steps.
        time.sleep(max(0.0, start + spec.seconds * step / spec.steps - time.monotonic()))
        for line in range(logged + 1, spec.log_lines * step // spec.steps + 1):
            report.log(f"line {line} of {spec.log_lines}")
            logged = line
        if spec.value is not None:
            report.metric("value", spec.value, step)
        report.progress(step, spec.steps, "steps", stage="sleep")


def _start_child(seconds: float, number: int, report: Report) -> None:
    child = subprocess.Popen(
        ["sleep", f"{seconds:.0f}"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    report.log(f"child {number} started with process id {child.pid}")


def _fail(spec: NoopSpec) -> None:
    if spec.fail == "error":
        raise EngineError(
            "asked_to_fail",
            "The job was asked to fail.",
            field="/fail",
            value="error",
            hint=N_("Leave the field 'fail' empty for a job that succeeds."),
        )
    if spec.fail == "exception":
        raise RuntimeError("the job was asked to raise an unexpected exception")
    if spec.fail == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if spec.fail == "memory":
        _take_memory(spec.memory_mib)
    if spec.fail == "hang":
        _wait_forever()


def _take_memory(limit_mib: int) -> None:
    blocks = []
    for _ in range(0, limit_mib, 16):
        block = bytearray(16 * _MIB)
        block[::4096] = b"\1" * (len(block) // 4096)  # touch every page, or the kernel gives none
        blocks.append(block)
    raise MemoryError(f"took {limit_mib} MiB, the limit of the spec, and nothing refused it")


def _wait_forever() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)


def _write(spec: NoopSpec, stage: Path, digests: dict[str, str]) -> Result:
    inputs: dict[str, JSON] = dict(digests)
    note = {"schema": "plane/noop-note/v1", "spec": spec.model_dump(mode="json"), "inputs": inputs}
    text = json.dumps(note, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
    (stage / "note.json").write_text(text, encoding="utf-8")
    outputs = [Output("note", "note.json", "application/json")]
    if spec.echo:
        (stage / "echo.txt").write_text(spec.echo, encoding="utf-8", newline="")
        outputs.append(Output("echo", "echo.txt", "text/plain; charset=utf-8", {"characters": len(spec.echo)}))
    return Result(tuple(outputs), {"inputs": inputs, "steps": spec.steps})


def _compute_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EngineError(
            "input_unreadable",
            "Cannot read {path}: {strerror}.",
            path=path,
            strerror=error.strerror,
            field="inputs",
            value=str(path),
        ) from error

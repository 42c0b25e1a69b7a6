"""Run a script: its environment, its process, its checkpoints, and what it left."""

import mimetypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.loopback_relay import open_relay
from deepseek.messages import N_
from deepseek.script.archive import measure_folder, pack_folder, unpack_code, unpack_folder
from deepseek.script.image import ImageProcess, ScriptImage, read_image
from deepseek.script.rank_logs import RankLogs
from deepseek.script.spec import CODE, DISTRIBUTED, MAX_SLOT, ScriptSpec
from deepseek.torchrun.placement import read_placement

DATA, CHECKPOINT = "data", "checkpoint"
TABLE_ENDINGS = (".csv", ".parquet", ".jsonl", ".arrow")
MAX_OUTPUTS = 1000
CHECKPOINT_SECONDS = 1.0
"""How long a checkpoint folder has to stay as it is before it is kept, and how often it is looked at."""
PASSED_VARIABLES = (
    "PATH",
    "LANG",
    "LOGNAME",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "PLANE_JOB",
)
TRACKING_VARIABLES = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_ID")
PLANE_URL = "SCRIPT_PLANE_URL"
INTERPRETER = "SCRIPT_INTERPRETER"


def run(spec: ScriptSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Run the command in the folder of the code and keep the files that it writes to $OUT.

    `inputs`: ``code`` (a folder, or a zip file of one), ``data`` (the folder that becomes $DATA) and ``checkpoint`` (a
    tar file of an earlier $CHECKPOINT), the last two if there are any. Each file below $OUT is an output under its
    path; of several nodes those of the first. Raises EngineError ``script_failed`` for an exit code that is not 0,
    ``output_missing`` for a promised file that is not there, ``bad_output`` for files that cannot be kept;
    RuntimeError if a signal ended the script.
    """
    folder = out.parent
    image = read_image(folder)
    code = inputs[CODE] if inputs[CODE].is_dir() else folder / "unpacked"
    if not inputs[CODE].is_dir():
        unpack_code(inputs[CODE], code)
    checkpoint = folder / "checkpoints"
    if CHECKPOINT in inputs:
        unpack_folder(inputs[CHECKPOINT], checkpoint)
    else:
        checkpoint.mkdir(exist_ok=True)
    data = inputs.get(DATA, folder / "no-data")
    data.mkdir(exist_ok=True)
    with stage_outputs(out) as stage:
        environment = build_environment(data=data, out=stage, checkpoint=checkpoint, scratch=folder, image=image)
        keeper = CheckpointWatch(checkpoint, folder / ".script.checkpoint", report)
        logs = folder / "rank-logs"
        logs.mkdir(exist_ok=True)
        relay = RankLogs(logs)
        keeper.start()
        if is_distributed(spec):
            relay.start()
        try:
            execute(build_command(spec, logs, image), code, environment, image)
        finally:
            relay.close()
            keeper.close()
        return collect_outputs(spec, stage, report) if read_placement().node_rank == 0 else Result(())


# -- the process ----------------------------------------------------------------------------------------------------
def build_command(spec: ScriptSpec, logs: Path, image: ScriptImage | None = None) -> list[str]:
    """The command with the interpreter of the environment; with several processes, by way of torchrun, which has each
    of them print into files of its own below `logs`.

    That of an image is looked for in the image, by its PATH.
    """
    interpreter = DISTRIBUTED if image else os.environ.get(INTERPRETER) or sys.executable
    command = list(spec.command)
    placement = read_placement()
    if is_distributed(spec):
        # On several nodes torchrun reads its part from the environment (deepseek/torchrun/placement.py).
        launcher = ["-m", "torch.distributed.run", *(["--standalone"] if placement.nodes == 1 else [])]
        files = ["--redirects=3", f"--log-dir={image.locate(logs) if image else logs}"]
        flags = [f"--nproc-per-node={spec.processes}", "--max-restarts=0", *files]
        return [interpreter, *launcher, *flags, *command[1:]]
    return [interpreter, *command[1:]] if command[0] == DISTRIBUTED else command


def is_distributed(spec: ScriptSpec) -> bool:
    return spec.processes > 1 or read_placement().nodes > 1


def build_environment(
    *, data: Path, out: Path, checkpoint: Path, scratch: Path, image: ScriptImage | None = None
) -> dict[str, str]:
    """The whole environment of the script: built from nothing but what it is meant to have, and what its image says."""
    interpreter = os.environ.get(INTERPRETER) or sys.executable
    passed_on = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True, mode=0o700)
    path = f"{Path(interpreter).parent}:{passed_on.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    locate = image.locate if image else str
    environment = {
        **({**image.variables, "LD_LIBRARY_PATH": image.library_path} if image else {}),
        **passed_on,
        "PATH": image.search_path if image else path,
        "HOME": locate(temporary),
        "TMPDIR": locate(temporary),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DATA": locate(data),
        "OUT": locate(out),
        "CHECKPOINT": locate(checkpoint),
        **read_placement().as_environment(),
    }
    if os.environ.get(PLANE_URL):
        environment["MLFLOW_TRACKING_URI"] = open_relay(os.environ[PLANE_URL]).url
        environment |= {name: os.environ[name] for name in TRACKING_VARIABLES if name in os.environ}
    return environment


def start_process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], image: ScriptImage | None
) -> subprocess.Popen[bytes] | ImageProcess:
    if image:
        return image.start(command, folder, environment)
    return subprocess.Popen(command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL)


def execute(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], image: ScriptImage | None = None
) -> None:
    """Run the command to its end; what it prints goes where this process prints."""
    try:
        process = start_process(command, folder, environment, image)
    except OSError as error:
        raise EngineError(
            "command_not_found",
            "The command {command!r} cannot be started: {strerror}.",
            command=command[0][:80],
            strerror=error.strerror,
            field="/command/0",
            value=command[0][:80],
            hint=N_(
                "Name a program of the node or of the image, or a file of the code that may be executed, as ./run.sh."
            ),
        ) from error
    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    if code < 0:
        raise RuntimeError(f"the script was ended by signal {-code} ({signal.Signals(-code).name})")
    if code:
        raise EngineError(
            "script_failed",
            "The script ended with exit code {code}.",
            code=code,
            field="/command",
            value=str(code),
            limit=0,
            hint=N_("The log says why."),
        )


class CheckpointWatch(threading.Thread):
    """Keeps the checkpoint folder of a script: packs it whenever it has changed and then stays as it is for a while."""

    def __init__(self, folder: Path, archive: Path, report: Report) -> None:
        super().__init__(name="checkpoint-watch", daemon=True)
        self._folder, self._archive, self._report = folder, archive, report
        self._is_over = threading.Event()
        self._kept = measure_folder(folder)
        self._step = 0

    def run(self) -> None:
        """Look at the folder once in CHECKPOINT_SECONDS."""
        before = self._kept
        while not self._is_over.wait(CHECKPOINT_SECONDS):
            now = measure_folder(self._folder)
            if now == before:
                self._keep(now)
            before = now

    def close(self) -> None:
        """Stop, and keep what was written last: the script has ended, so it is whole."""
        self._is_over.set()
        self.join()
        self._keep(measure_folder(self._folder))

    def _keep(self, state: tuple[int, int, int]) -> None:
        if state == self._kept or not state[0]:
            return
        try:
            pack_folder(self._folder, self._archive)
        except OSError as error:
            self._report.log(f"The checkpoint is not kept: {error.strerror}.", level="warning")
            return
        if measure_folder(self._folder) != state:  # it changed meanwhile: the next look keeps it
            return
        self._kept, self._step = state, max(self._step + 1, int(time.time()))
        self._report.checkpoint(self._archive, self._step)


# -- what it left ---------------------------------------------------------------------------------------------------
def collect_outputs(spec: ScriptSpec, stage: Path, report: Report) -> Result:
    """The files below $OUT as outputs, sorted by path. Raises EngineError for what was promised and is not there."""
    paths = sorted(list_files(stage))
    missing = [path for path in spec.outputs if path not in paths]
    if missing:
        raise EngineError(
            "output_missing",
            "The script ended without the output {path} that it promised.",
            path=missing[0],
            field="/outputs",
            value=", ".join(missing)[:200],
            limit=", ".join(spec.outputs)[:200],
            hint=N_("Write it to the folder that $OUT names, or take it off the list."),
        )
    if len(paths) > MAX_OUTPUTS:
        raise build_output_error(
            N_("The script left more files below $OUT than a job keeps."), str(len(paths)), MAX_OUTPUTS
        )
    too_long = next((path for path in paths if len(path) > MAX_SLOT), None)
    if too_long:
        raise build_output_error(N_("The script left a file below $OUT whose path is too long."), too_long, MAX_SLOT)
    table = find_table(spec, paths)
    outputs = tuple(
        Output(path, path, guess_media_type(path), measure_table(stage / path, stage, report) if path == table else {})
        for path in paths
    )
    return Result(outputs, {"files": len(paths), "bytes": sum((stage / path).stat().st_size for path in paths)})


def find_table(spec: ScriptSpec, paths: Sequence[str]) -> str:
    """The file that a dataset version would be made of: the one that the spec names, else the only table."""
    tables = [path for path in paths if Path(path).suffix in TABLE_ENDINGS]
    return spec.table or (tables[0] if len(tables) == 1 else "")


def measure_table(path: Path, folder: Path, report: Report) -> dict[str, JSON]:
    """Rows and columns of a table, as a version of it records them; nothing for a file that is none."""
    from deepseek.tables.sources import open_table
    from deepseek.tables.spec import CsvSpec

    try:
        source = open_table(path, CsvSpec(), folder, nested=True)
        rows = source.rows if source.rows is not None else sum(batch.num_rows for batch in source.batches)
        columns: list[JSON] = [{"name": field.name, "dtype": str(field.type)} for field in source.batches.schema]
    except EngineError as error:
        report.log(f"{path.name} is not measured: {error}", level="warning")
        return {}
    return {"rows": rows, "columns": columns}


def list_files(folder: Path) -> list[str]:
    """The paths of all files below the folder, relative to it. Raises EngineError for a link or a special file."""
    paths = []
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise build_output_error(N_("The script left a link or a special file below $OUT."), relative, None)
            if path.is_file():
                paths.append(relative)
    return paths


def guess_media_type(path: str) -> str:
    """By the ending; bytes of which nothing is known are application/octet-stream."""
    tables = {
        ".parquet": "application/vnd.apache.parquet",
        ".jsonl": "application/x-ndjson",
        ".arrow": "application/vnd.apache.arrow.file",
    }
    return tables.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def build_output_error(message: str, value: str, limit: int | None) -> EngineError:
    return EngineError(
        "bad_output",
        message,
        field="/outputs",
        value=value[:200],
        limit=limit,
        hint=N_("Write fewer and plain files, or pack them into one."),
    )

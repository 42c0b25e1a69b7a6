"""The command line ``deepseek``: the engine by hand, with no control plane, and the client of one (deepseek.client).

Exit codes: 0 done; 1 the machine failed (disk, memory, a defect); 2 the input, a flag or the spec is at fault;
130 or 143 interrupted or told to stop. Only 0 leaves an output folder; a training that was stopped leaves its
checkpoint beside it, and goes on from there when the same words are given again.
"""

import argparse
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.console import ConsoleReport
from deepseek.installation import build_command_error, get_distribution, has_module
from deepseek.job import EngineError, Result, build_checkpoint_path

FAILED, AT_FAULT, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


@dataclass(frozen=True)
class Command:
    """One capability: where its spec and its run are, its input slots, and the flags not named like their field.

    With `from_model` the slots are model, manifest and heldout, and one folder fills them; with `takes_model` a folder
    fills model and manifest before the slots, and with `takes_heldout` heldout too where it has such rows. A command
    that is no job names its own `entry`, a function of the words after it that returns the exit code, and nothing else.
    """

    sentence: str
    spec: str = ""
    slots: tuple[str, ...] = ()
    flags: dict[str, str] = field(default_factory=dict)
    from_model: bool = False
    takes_model: bool = False
    takes_heldout: bool = False
    takes_inputs: bool = True  # without slots: files under any name
    entry: str = ""
    explain: str = ""  # tells what a run would do to its first input, without doing it
    check: str = ""  # tells whether its first input is what the spec expects, and does nothing else
    files: dict[str, tuple[str, str]] = field(default_factory=dict)  # more inputs: flag -> its slot, and a few words
    input_help: str = "a CSV or Parquet file"
    left_out: tuple[str, ...] = ()  # fields of the spec that only a plane reads: no flags
    words: dict[str, str] = field(default_factory=dict)  # what a slot takes, if it is no table
    run: str = ""  # where the work is done, if not in the folder of that name
    instead: "tuple[str, Command] | None" = None  # a flag, and what is meant where it is given
    group: str = "on this machine, with no plane"  # the heading that it stands under in the overview

    @property
    def is_installed(self) -> bool:
        """Whether its modules are here: a device has those of few commands."""
        return has_module((self.entry or self.spec).partition(":")[0])


PLANE = "on a plane (docs/client.md)"
DEVICE = "on a device (docs/agent.md)"
SCHEDULE = ("init_lr", "max_lr", "warmup_steps", "first_batch", "last_batch")

EXAMPLE = """\
from a table to an answer:
  deepseek clean table.csv -o clean
  deepseek train clean/table.parquet --task regression --target COLUMN -o model
  deepseek quantize model -o model-int8
  deepseek compile model -o model-tvm
  deepseek export model -o model-export
  deepseek evaluate model other.csv -o evaluation
  deepseek evaluate --predictions said.csv other.csv -o evaluation --task regression --target COLUMN
  deepseek predict model other.csv -o predictions
  deepseek serve model

on a plane:
  deepseek login https://plane.example
  deepseek run train.py --data wti-clean:v1 -- --lr 0.1

exit codes: 0 done; 1 the machine failed; 2 the input, a flag or the spec is at fault; 130, 143 stopped"""

PREDICTED = Command(
    "measure predictions that were made elsewhere on a table",
    "deepseek.evaluate.spec:PredictionsSpec",
    ("table",),
    files={"predictions": ("predictions", "a CSV or Parquet file with a column prediction, instead of a MODEL_DIR")},
    run="deepseek.evaluate.predictions_run:run",
)
COMMANDS = {
    "clean": Command(
        "fill missing values of a table and treat its outliers",
        "deepseek.clean.spec:CleanSpec",
        ("table",),
        {
            "outliers.method": "outliers",
            "outliers.threshold": "outlier-threshold",
            "outliers.action": "outlier-action",
            "steps": "plan",
        },
        explain="deepseek.clean.explain:explain",
        files={
            "join": ("join", "a second table, for a step join"),
            "pseudonym-key-file": ("pseudonym_key", "a file with the key for pseudonyms, at least 16 bytes"),
        },
    ),
    "diff": Command(
        "compare two tables row by row, by a key",
        "deepseek.diff.spec:DiffSpec",
        ("before", "after"),
    ),
    "profile": Command(
        "measure a table and check what is expected of it, without changing it",
        "deepseek.profile.spec:ProfileSpec",
        ("table",),
        check="deepseek.profile.check:check_table",
    ),
    "partition": Command(
        "split a table into Parquet parts, by rows, by time or by a key",
        "deepseek.partitions.split_spec:SplitSpec",
        ("table",),
        run="deepseek.partitions.splitting:run",
    ),
    "train": Command(
        "train a model on a table, and measure it on held-out rows",
        "deepseek.train.spec:TrainSpec",
        ("table",),
        {f"schedule.{name}": name.replace("_", "-") for name in SCHEDULE},
    ),
    "train-entities": Command(
        "train a model that finds persons and organizations in texts, and measure it on held-out ones",
        "deepseek.entities.spec:EntitiesSpec",
        ("texts",),
        {f"schedule.{name}": name.replace("_", "-") for name in SCHEDULE},
        files={"weights": ("weights", "the model.safetensors of an earlier training, to go on from")},
        run="deepseek.entities.run:run",
        input_help="JSON lines with a text and its spans, an export of Label Studio, or tokens with BIO tags (CoNLL)",
    ),
    "federation-server": Command("coordinate a federated study", entry="deepseek.federated.command:coordinate_study"),
    "federation-site": Command(
        "take part in a federated study with the rows of a table", entry="deepseek.federated.command:take_part"
    ),
    "verify-ledger": Command(
        "verify the egress ledger of a site, and show what left it", entry="deepseek.federated.command:verify_ledger"
    ),
    "fit": Command("estimate the memory of a training, without training", entry="deepseek.fit.command:show_estimate"),
    "train-image": Command(
        "train a model on a folder of images, and measure it on held-out ones",
        "deepseek.images.spec:ImageSpec",
        ("images",),
        {f"schedule.{name}": name.replace("_", "-") for name in SCHEDULE},
        files={"weights": ("weights", "a safetensors file with the weights to begin from")},
        run="deepseek.images.run:run",
        input_help="a folder of images, with a folder for each class or a manifest.csv of path and label",
        left_out=("images",),
    ),
    "train-language": Command(
        "fine-tune a language model of the DeepSeek architecture, wholly or by adapters (LoRA)",
        "deepseek.language.spec:LanguageSpec",
        ("base", "texts"),
        {f"schedule.{name}": name.replace("_", "-") for name in SCHEDULE},
        left_out=("base",),
        run="deepseek.language.run:run",
        words={"base": "the folder of the base model", "texts": "conversations: a file of JSON lines"},
    ),
    "merge": Command(
        "add an adapter to its base model, tensor by tensor",
        "deepseek.language.spec:MergeSpec",
        ("base", "adapter"),
        left_out=("base",),
        run="deepseek.language.merge_folder:run",
        words={"base": "the folder of the base model", "adapter": "the folder that the training of the adapter made"},
    ),
    "quantize": Command(
        "make 8-bit forms of a model, measure what each costs and brings beside fp32, and recommend one",
        "deepseek.quantize.spec:QuantizeSpec",
        from_model=True,
        files={
            "calibration": (
                "calibration",
                "rows for the ranges of a static form, in a file as heldout.safetensors is (default: held-out ones)",
            )
        },
    ),
    "compile": Command(
        "compile a model for the processor of this machine, and measure it",
        "deepseek.compile.spec:CompileSpec",
        from_model=True,
        files={"schedules": ("schedules", "the schedules.jsonl of an earlier run, which is not measured again")},
    ),
    "export": Command(
        "write a trained model as pt2 (torch.export), TorchScript and ONNX, each compared with PyTorch",
        "deepseek.export.spec:ExportSpec",
        takes_model=True,
        takes_heldout=True,
        takes_inputs=False,
    ),
    "evaluate": Command(
        "measure a model, in any form, on a table or texts that it did not learn from; or predictions of one",
        "deepseek.evaluate.spec:EvaluateSpec",
        ("table",),
        takes_model=True,
        files={"base": ("base", "the folder of the base model, where MODEL_DIR holds an adapter of a language model")},
        left_out=("images",),
        words={"table": "a CSV or Parquet file; of a model of texts a file of them, of one of images a folder of them"},
        instead=("--predictions", PREDICTED),
    ),
    "predict": Command(
        "predict for every row of a table with a trained model, in any form",
        "deepseek.predict.spec:PredictSpec",
        ("table",),
        takes_model=True,
        left_out=("model",),
        words={"table": "a CSV, Parquet, Arrow or JSON lines file, or a folder of Parquet files of one schema"},
    ),
    "collect": Command(
        "collect records from sites of the hosts that COLLECT_HOSTS names",
        "deepseek.collect.spec:CollectSpec",
        takes_inputs=False,
    ),
    "canary": Command(
        "compare canary devices with control devices, and tell whether a wave may go on",
        entry="deepseek.canary.command:show_verdict",
    ),
    "doctor": Command("check the 127 things that jobs need of this machine", entry="deepseek.doctor.command:main"),
    "serve": Command("answer predictions of a model over HTTP", entry="deepseek.serve.command:serve_model"),
    "isolate": Command(
        "let this machine send only to what a policy names, and prove it",
        entry="deepseek.isolation.command:isolate_machine",
    ),
    "environment": Command(
        "show, compare and rebuild the Python environment of a machine",
        entry="deepseek.environments.command:manage_environment",
    ),
    "agent": Command(
        "keep a device at the release that its plane assigns, and serve its model",
        entry="deepseek.agent.command:run_agent",
        group=DEVICE,
    ),
    "noop": Command("do nothing, to try things out", "deepseek.noop.spec:NoopSpec", ()),
    "login": Command("keep a token for a plane", entry="deepseek.client.commands:log_in", group=PLANE),
    "logout": Command("forget the token of a plane", entry="deepseek.client.commands:log_out", group=PLANE),
    "run": Command("run a script on a plane", entry="deepseek.client.run_command:run_script", group=PLANE),
    "jobs": Command("list jobs", entry="deepseek.client.commands:list_jobs", group=PLANE),
    "logs": Command("print or follow the log of a job", entry="deepseek.client.commands:show_log", group=PLANE),
    "cancel": Command("cancel a job", entry="deepseek.client.commands:cancel_job", group=PLANE),
    "get": Command("download outputs of a job", entry="deepseek.client.commands:get_outputs", group=PLANE),
    "data": Command("list, download and upload datasets", entry="deepseek.client.commands:manage_data", group=PLANE),
    "models": Command(
        "list and download models, predict with one", entry="deepseek.client.model_commands:manage_models", group=PLANE
    ),
    "endpoints": Command(
        "create, change and try endpoints", entry="deepseek.client.endpoint_commands:manage_endpoints", group=PLANE
    ),
    "observations": Command(
        "send and read predictions and labels",
        entry="deepseek.client.observation_commands:manage_observations",
        group=PLANE,
    ),
    "schedules": Command(
        "submit jobs and pipelines again by a cron expression",
        entry="deepseek.client.schedule_commands:manage_schedules",
        group=PLANE,
    ),
    "devices": Command(
        "let devices in, assign releases to them", entry="deepseek.client.device_commands:manage_devices", group=PLANE
    ),
    "releases": Command(
        "issue, revoke and export releases for devices",
        entry="deepseek.client.release_commands:manage_releases",
        group=PLANE,
    ),
    "rollouts": Command(
        "give a version to many devices in waves, approve, pause, abort, roll back",
        entry="deepseek.client.rollout_commands:manage_rollouts",
        group=PLANE,
    ),
    "studies": Command(
        "train one model with other sites while rows stay at their site",
        entry="deepseek.client.study_commands:manage_studies",
        group=PLANE,
    ),
    "labelling": Command(
        "label dataset versions on a Label Studio, and publish what is agreed",
        entry="deepseek.client.labelling_commands:manage_labelling",
        group=PLANE,
    ),
    "monitors": Command(
        "watch accuracy, F1 or error of models in use",
        entry="deepseek.client.monitor_commands:manage_monitors",
        group=PLANE,
    ),
    "alarms": Command(
        "read and acknowledge what monitors have found",
        entry="deepseek.client.monitor_commands:manage_alarms",
        group=PLANE,
    ),
    "bundle": Command(
        "carry data, models, images and packages to another plane, signed by two people",
        entry="deepseek.client.bundle_commands:manage_bundles",
        group=PLANE,
    ),
    "recall": Command(
        "block what carries faulty data or a faulty model, and roll it back",
        entry="deepseek.client.recall_commands:manage_recalls",
        group=PLANE,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Heavy modules are imported only once a command is sure to run."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        signal.signal(signal.SIGTERM, _stop)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # column names in a locale that lacks their letters
    if not words or words[0] not in COMMANDS:
        return _show_overview(words)
    name, command = words[0], choose_command(COMMANDS[words[0]], words[1:])
    report = ConsoleReport()
    try:
        if not command.is_installed:
            raise build_command_error(name, _list_installed())
        if command.entry:
            return _enter(command.entry, words[1:])
        return _run(name, command, words[1:], report)
    except EngineError as error:
        report.close()
        _explain([error])
        return error.exit_code
    except KeyboardInterrupt:
        return _report_interruption(report, None)
    except (OSError, MemoryError) as error:
        report.close()
        print(f"deepseek: {type(error).__name__}: {error or 'no more memory'}", file=sys.stderr)
        return FAILED
    except Exception as error:  # noqa: BLE001  a defect: name it without a trace, and nothing was written
        report.close()
        print(f"deepseek: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def _list_installed() -> dict[str, Command]:
    return {name: command for name, command in COMMANDS.items() if command.is_installed}


def _enter(entry: str, words: list[str]) -> int:
    """Run a command that is no job; its reader may go away, as that of `deepseek logs 7 | head` does."""
    try:
        code = int(_load(entry)(words))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter flushes into it at its end
        return BROKEN_PIPE
    return code


def choose_command(command: Command, words: Sequence[str]) -> Command:
    """The command, or the one that a flag among its words puts in its place."""
    if command.instead is None:
        return command
    flag, alternative = command.instead
    return alternative if any(word.partition("=")[0] == flag for word in words) else command


def _stop(number: int, frame: object) -> None:
    """Leave by an exception, so that the staging folder goes."""
    raise SystemExit(128 + number)


def _report_interruption(report: ConsoleReport, out: Path | None) -> int:
    report.close()
    has_checkpoint = out is not None and build_checkpoint_path(out).exists()
    then = "; the same words again go on from the checkpoint" if has_checkpoint else ", nothing was written"
    print(f"deepseek: interrupted{then}", file=sys.stderr)
    return INTERRUPTED


def _show_overview(words: list[str]) -> int:
    """``deepseek``, ``--help``, ``--version``, and anything that is no command."""
    groups: dict[str, list[str]] = {}
    for name, command in _list_installed().items():
        groups.setdefault(command.group, []).append(f"  {name:16}{command.sentence}\n")
    example = EXAMPLE if has_module("deepseek.train") else ""
    lines = "\n".join(f"{heading}:\n{''.join(rows)}" for heading, rows in groups.items())
    parser = argparse.ArgumentParser(
        prog="deepseek",
        description="The engine of an offline model-training control plane, and its client.",
        epilog=f"{lines}\n{example}\n\nFields of a command: deepseek COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    parser.add_argument(
        "command", nargs="?", choices=list(_list_installed()), metavar="COMMAND", help="one of those below"
    )
    if parser.parse_args(words).version:
        print(*get_distribution())
        return 0
    parser.print_help(sys.stderr)
    return AT_FAULT


def _run(name: str, command: Command, words: list[str], report: ConsoleReport) -> int:
    from pydantic import ValidationError

    from deepseek.flags import add_flags, convert_errors, read_spec

    model = _load(command.spec)
    parser = _build_parser(name, command, model.__doc__ or "")
    add_flags(parser, model, command.flags, command.left_out)
    arguments = parser.parse_args(words)
    if arguments.out is None and not (arguments.explain or arguments.check):
        parser.error("the following arguments are required: -o/--out")
    if arguments.out is not None and (arguments.explain or arguments.check):
        parser.error(f"-o/--out goes not with --{'explain' if arguments.explain else 'check'}, which writes nothing")
    try:
        spec = read_spec(model, arguments)
        if arguments.explain:
            return _explain_run(command, spec, arguments)
        if arguments.check:
            return _check(command, spec, arguments)
    except ValidationError as error:
        return _refuse(convert_errors(error), arguments)
    except EngineError as error:
        return _refuse([error], arguments)
    inputs = _list_inputs(command, arguments) | _list_flag_inputs(command, arguments)
    run: Callable[..., Result] = _load(command.run or f"deepseek.{name}.run:run")
    try:
        result = run(spec, inputs=inputs, out=arguments.out, report=report)
    except KeyboardInterrupt:
        return _report_interruption(report, arguments.out)
    report.close()
    _print_result(result, arguments.out, as_json=arguments.json)
    return 0


def _explain_run(command: Command, spec: Any, arguments: argparse.Namespace) -> int:
    """What a run would do, on the first rows: read, told, and nothing written."""
    explanation = _load(command.explain)(
        spec,
        getattr(arguments, f"input:{command.slots[0]}"),
        rows=arguments.sample,
        head=arguments.head_bytes,
        more=_list_flag_inputs(command, arguments),
    )
    if arguments.json:
        print(json.dumps(explanation, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        for line in _load(f"{command.explain.split(':')[0]}:format_lines")(explanation):
            print(line)
    return 0


def _check(command: Command, spec: Any, arguments: argparse.Namespace) -> int:
    """Whether the table is what is expected; nothing is written. What does not hold is the input's fault."""
    checked, failed = _load(command.check)(spec, getattr(arguments, f"input:{command.slots[0]}"))
    if arguments.json:
        errors = [error.as_dict() for error in failed]
        print(json.dumps({**checked, "errors": errors}, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        for line in _load(f"{command.check.split(':')[0]}:format_lines")(checked):
            print(line)
    _explain(failed)
    return AT_FAULT if failed else 0


def _refuse(errors: list[EngineError], arguments: argparse.Namespace) -> int:
    """Explain the errors; to a program that asked for an answer as JSON, as JSON."""
    if (arguments.explain or arguments.check) and arguments.json:
        print(json.dumps({"errors": [error.as_dict() for error in errors]}, ensure_ascii=False))
    _explain(errors)
    return AT_FAULT


def _load(place: str) -> Any:
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)


def _build_parser(name: str, command: Command, description: str) -> argparse.ArgumentParser:
    more = f"or {command.instead[0]} FILE: {command.instead[1].sentence}" if command.instead else None
    parser = argparse.ArgumentParser(prog=f"deepseek {name}", description=description, epilog=more, allow_abbrev=False)
    if command.takes_model:
        words = "the folder of a model, as `deepseek train`, `quantize` or `compile` makes it"
        parser.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help=words)
    for slot in command.slots:
        words = command.words.get(slot) or f"the {slot}: {command.input_help}"
        parser.add_argument(f"input:{slot}", metavar="INPUT", type=Path, help=words)
    for flag, (slot, help_text) in command.files.items():
        parser.add_argument(f"--{flag}", dest=f"more:{slot}", metavar="FILE", type=Path, help=help_text)
    if command.from_model:
        words = "the folder of a trained model, as `deepseek train` makes it"
        parser.add_argument("model_dir", metavar="MODEL_DIR", type=Path, help=words)
        words = "rows to measure on (default: heldout.safetensors in the folder)"
        parser.add_argument("--heldout", metavar="FILE", type=Path, help=words)
    elif not command.slots and command.takes_inputs:
        parser.add_argument("--input", metavar="SLOT=FILE", action="append", default=[], help="an input, any number")
    parser.add_argument("-o", "--out", metavar="OUTDIR", type=Path, help="folder to make: new, or empty")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(explain=False, check=False)
    if command.explain:
        _add_explain(parser)
    if command.check:
        words = "instead of -o: tell which expectations hold, and measure and write nothing"
        parser.add_argument("--check", action="store_true", help=words)
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    words = "instead of -o: tell what would change in the first rows, and write nothing"
    parser.add_argument("--explain", action="store_true", help=words)
    words = "rows that --explain looks at (default: 2000)"
    parser.add_argument("--sample", metavar="ROWS", type=_parse_positive, default=2000, help=words)
    words = "bytes at the beginning of the file that --explain reads at most (default: 16777216)"
    parser.add_argument("--head-bytes", metavar="BYTES", type=_parse_positive, default=16 * 2**20, help=words)


def _parse_positive(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    if not 0 < number <= 2**31:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 1 to {2**31}")
    return number


def _list_flag_inputs(command: Command, arguments: argparse.Namespace) -> dict[str, Path]:
    """The inputs that flags name."""
    paths = {slot: getattr(arguments, f"more:{slot}") for slot, _ in command.files.values()}
    return {slot: path for slot, path in paths.items() if path is not None}


def _list_inputs(command: Command, arguments: argparse.Namespace) -> dict[str, Path]:
    if command.from_model:
        from deepseek.models.folder import find_model_inputs

        return find_model_inputs(arguments.model_dir, arguments.heldout)
    if command.slots or command.takes_model:
        paths = {slot: getattr(arguments, f"input:{slot}") for slot in command.slots}
        if command.takes_model:
            from deepseek.models.folder import HELDOUT_NAME, find_model_files

            rows = arguments.model_dir / HELDOUT_NAME
            if command.takes_heldout and rows.is_file():
                paths["heldout"] = rows
            return {**find_model_files(arguments.model_dir), **paths}
        return paths
    inputs = {}
    for pair in arguments.input if command.takes_inputs else ():
        slot, equals, path = pair.partition("=")
        if not (slot and equals and path):
            raise EngineError("bad_flag", "An input is SLOT=FILE.", field="--input", value=pair, limit="SLOT=FILE")
        inputs[slot] = Path(path)
    return inputs


def _print_result(result: Result, out: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.as_dict(), ensure_ascii=False, allow_nan=False, indent=1))
        return
    for key, value in result.summary.items():
        if isinstance(value, dict):
            counts = {name: count for name, count in value.items() if count or not isinstance(count, int)}
            value = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        elif isinstance(value, list):
            continue  # warnings and steps: they were logged
        print(f"{key.replace('_', ' ')}: {value}")
    for output in result.outputs:
        print(f"{output.slot}: {out / output.path}")


def _explain(errors: list[EngineError]) -> None:
    """Each error with whatever it names: what is wrong, where, with which value, what is allowed, what to do."""
    for error in errors:
        print(f"deepseek: {error.message}", file=sys.stderr)
        for part in ("field", "value", "limit", "hint"):
            text = getattr(error, part)
            if text is not None:
                print(f"  {part}: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

"""Latency and size of each form of a model, as ratios to PyTorch's fp32 eager mode in the same run.

Run: python benchmarks/inference.py [--runs 400] [--threads 1] [--trials 64] [--models forecaster,...]

The forms are made by the engine's own quantize and compile, and opened as a user would open them. All of them then take
turns on the same rows, with their inputs prepared: a call is the model alone. A figure is the median over all calls of
a form; the ratio is eager's median over it, so above 1 is faster. Weights are random, for speed does not depend on
them. TVM compiles for one batch size, so it is compiled for each; "by rule" is without a trial.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from deepseek.compile.run import run as compile_model
from deepseek.compile.spec import CompileSpec
from deepseek.console import ConsoleReport
from deepseek.job import Silent
from deepseek.models.figures import Figures
from deepseek.models.folder import find_model_inputs
from deepseek.models.heldout import HELDOUT_NAME, Heldout, write_heldout
from deepseek.models.manifest import MANIFEST_NAME, MlpArchitecture, ModelManifest
from deepseek.models.network import build_network, save_network
from deepseek.models.predictor import load_predictor
from deepseek.models.source import EAGER, read_source
from deepseek.models.timing import limit_torch_threads, take_turns
from deepseek.models.torch_predictor import TorchPredictor
from deepseek.models.torchscript import read_archive
from deepseek.quantize.outputs import EXPORTED_NAME
from deepseek.quantize.run import run as quantize_model
from deepseek.quantize.spec import QuantizeSpec

BATCHES = (1, 32)
FORMS = ("TorchScript", "int8", "TVM by rule", "TVM tuned")
MODELS = {
    "forecaster": ("forecast", MlpArchitecture(inputs=20, hidden=[64, 64], outputs=1, activation="relu", output="value",
                                            residual=True)),
    "classifier": ("classification", MlpArchitecture(inputs=30, hidden=[512] * 3, outputs=2, activation="relu",
                                                  output="probabilities")),
    "mlp": ("regression", MlpArchitecture(inputs=1024, hidden=[1024] * 5, outputs=1024, activation="relu",
                                       output="value")),
}  # fmt: skip
HELDOUT_ROWS = 500


@dataclass
class Measured:
    """One model: what it is, median seconds by batch and form, and the figures of the forms that are files."""

    name: str
    widths: str
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    figures: dict[str, Figures] = field(default_factory=dict)
    trained_bytes: int = 0


def make_model(name: str, folder: Path) -> None:
    """A model folder with random weights and random held-out rows."""
    task, architecture = MODELS[name]
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    classes = [str(i) for i in range(architecture.outputs)] if task == "classification" else []
    folder.mkdir()
    save_network(
        build_network(architecture),
        folder,
        architecture=architecture,
        task=task,
        target="y",
        features=[f"x{i}" for i in range(architecture.inputs)],
        classes=classes,
        inputs={},
        spec={},
    )
    features = random.normal(size=(HELDOUT_ROWS, architecture.inputs)).astype(np.float32)
    target = random.integers(0, 2, HELDOUT_ROWS) if classes else features[:, 0]
    write_heldout(Heldout(features, target), folder / HELDOUT_NAME)


def measure(name: str, folder: Path, arguments: argparse.Namespace) -> Measured:
    """Make every form of one model, and let all of them take turns at each batch size."""
    report = ConsoleReport() if arguments.verbose else Silent()
    model, threads = folder / "fp32", arguments.threads
    make_model(name, model)
    inputs = find_model_inputs(model)
    source = read_source(inputs, "A benchmark")
    architecture = source.manifest.architecture
    made = Measured(name, "-".join(map(str, [architecture.inputs, *architecture.hidden, architecture.outputs])))
    made.trained_bytes = source.manifest.file.size
    quick = {"runs": 10, "threads": threads}
    spec = QuantizeSpec(batches=[1], candidates=["int8"], sensitivity_layers=0, **quick)
    quantize_model(spec, inputs=inputs, out=folder / "int8", report=report)
    is_recommended = ModelManifest.read(folder / "int8" / MANIFEST_NAME).variant == "int8"
    quantized = folder / "int8" if is_recommended else folder / "int8/int8"
    made.figures["int8"] = Figures.read(quantized / "figures.json")
    exported = TorchPredictor(source.manifest, read_archive(folder / "int8" / EXPORTED_NAME))
    for batch in BATCHES:
        forms = {EAGER: source.predictor, "TorchScript": exported, "int8": load_predictor(quantized)}
        for form, trials in (("TVM by rule", 0), ("TVM tuned", arguments.trials)):
            out = folder / f"tvm-{batch}-{trials}"
            spec = CompileSpec(batch=batch, trials=trials, **quick)
            compile_model(spec, inputs=inputs, out=out, report=report)
            forms[form] = load_predictor(out)
            made.figures["TVM"] = Figures.read(out / "figures.json")
        rows = source.take_batch(batch)
        calls = {form: predictor.bind(rows) for form, predictor in forms.items()}
        with limit_torch_threads(threads):
            made.seconds[batch] = take_turns(calls, runs=arguments.runs, limit=120).seconds
        print(row(made, batch), flush=True)
    return made


def row(made: Measured, batch: int) -> str:
    """One line of the table of latencies."""
    seconds = made.seconds[batch]
    ratios = [f"{seconds[EAGER] / seconds[form]:.3g}" for form in FORMS]
    marked = [f"{ratio} (slower)" if float(ratio) < 0.95 else ratio for ratio in ratios]
    cells = [made.widths, str(batch), f"{seconds[EAGER] * 1e6:,.1f}", *marked, f"{seconds['TVM tuned'] * 1e6:,.1f}"]
    return "| " + " | ".join(cells) + " |"


def sizes(made: Measured) -> str:
    """One line of the table of sizes."""
    int8, tvm = made.figures["int8"], made.figures["TVM"]
    cells = [made.widths, f"{made.trained_bytes:,}"]
    cells += [f"{figures.size_bytes:,} ({smaller(figures.size_ratio)})" for figures in (int8, tvm)]
    cells += [f"{figures.agreement.max_rel_error:.1g}" for figures in (int8, tvm)]
    return "| " + " | ".join(cells) + " |"


def smaller(ratio: float) -> str:
    """A ratio of sizes, in words."""
    return f"{ratio:.2f}x smaller" if ratio >= 1 else f"{1 / ratio:.2f}x larger"


def processor() -> str:
    """The processor's name, as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="calls of each form (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=64, help="tiles to try at most (default: %(default)s)")
    parser.add_argument("--models", default=",".join(MODELS), help="which models (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show what the engine reports")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import tvm

    load = f"load average {os.getloadavg()[0]:.1f} at the start"
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {processor()}, {os.cpu_count()} cores, {load}.")
    print(f"Threads {arguments.threads}, {arguments.runs} calls; torch {torch.__version__}, tvm {tvm.__version__}.\n")
    print("| model | batch | fp32 eager, us | " + " | ".join(f"{form}, x" for form in FORMS) + " | TVM tuned, us |")
    print("|" + "---|" * (len(FORMS) + 4))
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            Path(folder, name).mkdir()
            made.append(measure(name, Path(folder, name), arguments))
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end\n")
    print("| model | fp32, bytes | int8 | TVM | int8: largest relative difference | TVM: the same |")
    print("|" + "---|" * 6)
    for one in made:
        print(sizes(one))
    return 0


if __name__ == "__main__":
    sys.exit(main())

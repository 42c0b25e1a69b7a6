"""Latency of models compiled by TVM, as ratios to PyTorch's fp32 eager mode and to ONNX Runtime fp32 in the same run.

Run: python benchmarks/compile.py [--seconds 600] [--trials 100000] [--threads 1] [--models mlp-1,resnet18-1,...]

Each model is compiled by the engine's own compile twice: by rule, without a trial, and tuned within the budget. Then
all of them take turns on the same rows, with their inputs prepared: a call is the model alone. A ratio above 1 says
that TVM is faster. Weights are random, for speed does not depend on them.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from deepseek.compile.run import run as compile_model
from deepseek.compile.spec import CompileSpec
from deepseek.console import ConsoleReport
from deepseek.entities.outputs import HELDOUT_NAME as TEXTS_NAME
from deepseek.export.document import build_axes
from deepseek.export.examples import build_draw
from deepseek.export.forms import export_program, write_onnx
from deepseek.job import Silent
from deepseek.models.figures import Figures
from deepseek.models.folder import find_model_inputs
from deepseek.models.heldout import HELDOUT_NAME, Heldout, write_heldout
from deepseek.models.manifest import EntitiesArchitecture, ImageArchitecture, MlpArchitecture, ModelManifest
from deepseek.models.network import build_network, save_network
from deepseek.models.onnx_file import open_session
from deepseek.models.source import EAGER, read_source
from deepseek.models.timing import limit_torch_threads, take_turns

ORT, RULE, TUNED = "ONNX Runtime fp32", "TVM by rule", "TVM tuned"
LABELS = ["PER", "ORG"]
WORDS = [f"word{number}" for number in range(1000)]
ENCODER = {"labels": LABELS, "words": 1000, "buckets": 1000, "max_length": 64, "width": 512, "layers": 6, "heads": 8}
MODELS = {
    "mlp": MlpArchitecture(inputs=1024, hidden=[1024] * 5, outputs=1024, activation="relu", output="value"),
    "encoder": EntitiesArchitecture(**ENCODER),
    "resnet18": ImageArchitecture(backbone="resnet18", outputs=10),
    "mobilenet_v3_small": ImageArchitecture(backbone="mobilenet_v3_small", outputs=10),
    "mobilenet_v3_large": ImageArchitecture(backbone="mobilenet_v3_large", outputs=10),
}
DEFAULT = "mlp-1,mlp-32,encoder-1,encoder-32,resnet18-1,mobilenet_v3_small-1"


def make_model(name: str, folder: Path) -> None:
    """A model folder with random weights and random held-out rows."""
    architecture, random = MODELS[name], np.random.default_rng(0)
    torch.manual_seed(0)
    network, assets, classes, task = build_network(architecture), None, [], "regression"
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.uniform_(0.5, 2)
            layer.running_mean.normal_(std=0.1)
    folder.mkdir()
    if name == "encoder":
        task, classes = "entities", LABELS
        assets = {"tokenizer": 1, "vocabulary": WORDS, "labels": LABELS, "continuation": [0.5, 0.5]}
        texts = [{"text": " ".join(random.choice(WORDS, 64)), "spans": []} for _ in range(32)]
        (folder / TEXTS_NAME).write_text("\n".join(map(json.dumps, texts)))
    elif name == "mlp":
        features = random.normal(size=(500, architecture.inputs)).astype(np.float32)
        write_heldout(Heldout(features, features[:, 0]), folder / HELDOUT_NAME)
    else:
        task, classes = "classification", [str(number) for number in range(architecture.outputs)]
        pixels = random.integers(0, 256, (16, *architecture.input_shape), dtype=np.uint8)
        write_heldout(Heldout(pixels, random.integers(0, 10, 16)), folder / HELDOUT_NAME)
    save_network(
        network,
        folder,
        architecture=architecture,
        task=task,
        target="y",
        features=[f"x{i}" for i in range(architecture.inputs)] if name == "mlp" else [],
        classes=classes,
        inputs={},
        spec={},
        assets=assets,
    )


def measure(name: str, batch: int, folder: Path, arguments: argparse.Namespace) -> str:
    """One line of the table."""
    report = ConsoleReport() if arguments.verbose else Silent()
    model = folder / "fp32"
    make_model(name, model)
    inputs, threads = find_model_inputs(model), arguments.threads
    source = read_source(inputs, "A benchmark", only_mlp=False)
    rows = source.take_batch(batch)
    draw = build_draw(source.manifest.architecture, source.network, 0)
    axes = build_axes(source.manifest)
    write_onnx(export_program(source.network, draw(2, 9), axes), folder / "model.onnx", axes)
    session = open_session(folder / "model.onnx", threads)
    entry = session.get_inputs()[0].name
    forms = {EAGER: source.predictor.bind(rows), ORT: lambda: session.run(None, {entry: rows})}
    seconds, worst = {}, 0.0
    for form, trials in ((RULE, 0), (TUNED, arguments.trials)):
        out, start = folder / form.replace(" ", "-"), time.perf_counter()
        spec = CompileSpec(batch=batch, trials=trials, seconds=arguments.seconds, runs=10, threads=threads)
        compile_model(spec, inputs=inputs, out=out, report=report)
        seconds[form] = time.perf_counter() - start
        manifest = ModelManifest.read(out / "model.json")
        forms[form] = source.open_form(manifest, out / "model.so").bind(rows)
        worst = max(worst, Figures.read(out / "figures.json").agreement.max_rel_error)
    with limit_torch_threads(threads):
        timed = take_turns(forms, runs=arguments.runs, limit=120)
    times = timed.seconds
    ratios = [times[against] / times[form] for form in (RULE, TUNED) for against in (EAGER, ORT)]
    cells = [name, batch, *(f"{times[form] * 1e3:.3f}" for form in (EAGER, ORT, RULE, TUNED))]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    cells += [manifest.machine["trials"], *(f"{seconds[form]:.0f}" for form in (RULE, TUNED)), f"{worst:.0e}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="calls of each form (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=100_000, help="tiles to try at most (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=600, help="of tuning, of each model (default: %(default)s)")
    parser.add_argument("--models", default=DEFAULT, help="name-batch of each (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show what the engine reports")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import onnxruntime
    import tvm

    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, tvm {tvm.__version__}"
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {find_processor()}, {os.cpu_count()} cores, {versions}.")
    print(f"Threads {arguments.threads}; load average {os.getloadavg()[0]:.1f} at the start. Times in milliseconds.\n")
    heads = ["model", "batch", "eager", ORT, RULE, TUNED]
    heads += [f"{form} / {against}" for form in ("rule", "tuned") for against in ("eager", "ORT")]
    heads += ["trials", "s by rule", "s tuned", "largest relative difference"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for word in arguments.models.split(","):
        name, _, batch = word.rpartition("-")
        with tempfile.TemporaryDirectory() as folder:
            print(measure(name, int(batch), Path(folder), arguments), flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")
    return 0


def find_processor() -> str:
    """Its name, as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())

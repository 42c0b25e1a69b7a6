"""What 8-bit forms of three networks bring beside fp32 eager in the same run, and whether the aims are reached.

Run: python benchmarks/targets.py [--models mlp,encoder,resnet18] [--runs 60] [--batches 1,32]

The networks are those of the aims: an MLP of six layers 1024 wide, a transformer of entities (width 512, six layers,
eight heads, texts of 64 tokens, attention included), and ResNet-18 on 224 x 224 pixels. Each is trained for a minute or
less, so that its accuracy means something: digits of scikit-learn, projected to 1,024 numbers; sentences with names;
three kinds of drawn images. Then the engine's own `quantize` makes, measures and judges all forms; the figures are
those of tradeoff.json. Ratios are fp32 eager's median time over the form's, in turns in one process: above 1 is faster.
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn import functional

from deepseek.console import ConsoleReport
from deepseek.entities.run import run as train_entities
from deepseek.entities.spec import EntitiesSpec
from deepseek.images.run import run as train_images
from deepseek.images.spec import ImageSpec
from deepseek.job import Silent
from deepseek.models.folder import HELDOUT_NAME, TEXT_HELDOUT_NAME, find_model_inputs
from deepseek.models.heldout import Heldout, write_heldout
from deepseek.models.manifest import MlpArchitecture
from deepseek.models.network import build_network, save_network
from deepseek.quantize.document import Tradeoff, VariantFigures
from deepseek.quantize.run import run as quantize_model
from deepseek.quantize.spec import QuantizeSpec

NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald")
FIRMS = ("Acme", "Initech", "Globex", "Umbrella")
KINDS = ("bright", "dark", "striped")
TOKENS, TEXTS, IMAGES = 64, 60, 96


def make_mlp(folder: Path) -> None:
    """A classifier of digits, six layers of 1024."""
    digits = load_digits()
    draw = np.random.default_rng(0)
    rows = (digits.data / 16 @ draw.normal(size=(64, 1024)) / 8).astype(np.float32)
    order = draw.permutation(len(rows))
    rows, target = rows[order], digits.target[order].astype(np.int64)
    architecture = MlpArchitecture(
        inputs=1024, hidden=[1024] * 5, outputs=10, activation="relu", output="probabilities"
    )
    torch.manual_seed(0)
    network = build_network(architecture)
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(8):
        for at in range(0, 1000, 50):
            batch = slice(at, at + 50)
            loss = functional.cross_entropy(
                network.compute_logits(torch.from_numpy(rows[batch])), torch.from_numpy(target[batch])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    folder.mkdir()
    save_network(
        network,
        folder,
        architecture=architecture,
        task="classification",
        target="digit",
        features=[f"x{place}" for place in range(1024)],
        classes=list("0123456789"),
        inputs={},
        spec={},
    )
    write_heldout(Heldout(rows[1000:], target[1000:]), folder / HELDOUT_NAME)


def draw_text(draw: np.random.Generator, sentences: int) -> dict[str, object]:
    """Sentences of eight tokens with a person and a firm each."""
    text, spans = "", []
    for _ in range(sentences):
        name, firm = NAMES[draw.integers(len(NAMES))], FIRMS[draw.integers(len(FIRMS))]
        verb = ("left", "joined", "sued", "praised")[draw.integers(4)]
        start = len(text)
        text += f"{name} has {verb} the firm {firm} ."
        at = text.index(firm, start)
        spans += [
            {"start": start, "end": start + len(name), "label": "PERSON"},
            {"start": at, "end": at + len(firm), "label": "ORG"},
        ]
        text += " "
    return {"text": text.strip(), "spans": spans}


def make_encoder(folder: Path) -> None:
    """A model of entities, trained on short texts and measured on some of 64 tokens."""
    draw = np.random.default_rng(0)
    texts = folder.with_suffix(".jsonl")
    texts.write_text("".join(f"{json.dumps(draw_text(draw, 1))}\n" for _ in range(400)))
    spec = EntitiesSpec(
        width=512,
        layers=6,
        heads=8,
        max_length=TOKENS,
        epochs=2,
        schedule={"first_batch": 16, "last_batch": 16, "warmup_steps": 5, "max_lr": 3e-4},
    )
    train_entities(spec, inputs={"texts": texts}, out=folder, report=Silent())
    long = "".join(f"{json.dumps(draw_text(draw, TOKENS // 8 + 1))}\n" for _ in range(TEXTS))
    (folder / TEXT_HELDOUT_NAME).write_text(long)


def draw_image(draw: np.random.Generator, kind: int) -> np.ndarray:
    """Noise that is bright, dark or striped."""
    pixels = draw.integers(0, 160, (224, 224, 3)).astype(np.uint8)
    if KINDS[kind] == "bright":
        pixels += 60
    if KINDS[kind] == "striped":
        pixels[:: int(draw.integers(5, 9))] += 70
    return pixels


def make_resnet(folder: Path) -> None:
    """ResNet-18 on images of three kinds."""
    draw, source = np.random.default_rng(0), folder.with_suffix(".images")
    for kind, name in enumerate(KINDS):
        (source / name).mkdir(parents=True)
        for number in range(24):
            Image.fromarray(draw_image(draw, kind)).save(source / name / f"{number}.png")
    schedule = {"warmup_steps": 2, "first_batch": 8, "last_batch": 8, "max_lr": 1e-3}
    spec = ImageSpec(backbone="resnet18", height=224, width=224, epochs=3, schedule=schedule)
    train_images(spec, inputs={"images": source}, out=folder, report=Silent())
    target = np.arange(IMAGES) % len(KINDS)
    pixels = np.stack([draw_image(draw, kind).transpose(2, 0, 1) for kind in target])
    write_heldout(Heldout(np.ascontiguousarray(pixels), target.astype(np.int64)), folder / HELDOUT_NAME)


MODELS: dict[str, Callable[[Path], None]] = {"mlp": make_mlp, "encoder": make_encoder, "resnet18": make_resnet}


def print_head(document: Tradeoff) -> None:
    """Where it was measured, and the head of the table."""
    machine, load = document.machine, os.getloadavg()[0]
    versions = f"torch {machine['torch']}, onnxruntime {machine['onnxruntime']}"
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {machine['processor']}, {machine['cores']} cores.")
    print(f"Load average {load:.1f} at the start; {versions}.\n")
    times = [f"b{batch} t{threads}, x" for threads in document.threads for batch in document.batches]
    head = ["model", "form", "size, x", *times, "p50 / p95, ms", "MB", "lost", "depends", "verdict"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))


def print_table(name: str, document: Tradeoff) -> None:
    """A row for each form."""
    for form in document.variants:
        ratios = [f"{timing.ratio:.2f}" for timing in form.timings]
        cells = [name, form.name, f"{form.size_ratio:.2f}", *ratios]
        cells += [f"{form.timings[0].p50_us / 1000:.2f} / {form.timings[0].p95_us / 1000:.2f}"]
        cells += [
            f"{form.memory_bytes / 1e6:.0f}",
            f"{form.loss.value:.2f} [{form.loss.low:.2f}, {form.loss.high:.2f}]",
        ]
        cells += ["yes" if form.batch_dependence.depends else "no", form.verdict]
        print("| " + " | ".join(cells) + " |", flush=True)


def find_ratio(form: VariantFigures, batch: int) -> float:
    """Times faster than eager at this batch size, one thread."""
    return next(timing.ratio for timing in form.timings if timing.batch == batch)


def list_aims(name: str, document: Tradeoff) -> list[tuple[str, float, float, bool]]:
    """What is aimed at: (words, figure, aim, whether more is better)."""
    forms = {form.name: form for form in document.variants}
    best, small = forms[document.recommended], min(forms.values(), key=lambda form: form.size_bytes)
    int8 = forms.get("int8-static" if name == "resnet18" else "int8-onnx", best)
    aims = [("size, smallest form", small.size_ratio, 3.9, True)]
    aims += [("the recommended form at batch 1", find_ratio(best, document.batches[0]), 1.9, True)]
    aims += [("points lost by the recommended form", best.loss.value, 0.5, False)]
    if name == "mlp":
        aims += [("int8 at batch 1", find_ratio(int8, document.batches[0]), 10, True)]
        aims += [("the text's int8: size", forms["int8"].size_ratio, 4, True)]
        aims += [("the text's int8: batch 1", find_ratio(forms["int8"], document.batches[0]), 2.5, True)]
    if name == "encoder":
        batches = zip(document.batches, (5, 4.5), strict=False)
        aims += [(f"int8 at batch {batch}", find_ratio(int8, batch), aim, True) for batch, aim in batches]
    return aims


def main() -> int:
    """Print the table, and each aim with what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="which models (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=60, help="calls of each form (default: %(default)s)")
    parser.add_argument("--batches", default="1,32", help="batch sizes (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show what the engine reports")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    report = ConsoleReport() if arguments.verbose else Silent()
    batches = [int(batch) for batch in arguments.batches.split(",")]
    documents: dict[str, Tradeoff] = {}
    with tempfile.TemporaryDirectory() as place:
        for name in arguments.models.split(","):
            folder = Path(place, name)
            MODELS[name](folder)
            spec = QuantizeSpec(runs=arguments.runs, batches=batches, sensitivity_layers=8, sensitivity_rows=64)
            out = Path(place, f"{name}-out")
            quantize_model(spec, inputs=find_model_inputs(folder), out=out, report=report)
            document = documents[name] = Tradeoff.read(out / "tradeoff.json")
            if len(documents) == 1:
                print_head(document)
            print_table(name, document)
    print("\n| model | aim | reached |\n|---|---|---|")
    for name, document in documents.items():
        for words, figure, aim, is_more in list_aims(name, document):
            held = figure >= aim if is_more else figure <= aim
            limit = f"at least {aim}x" if is_more else f"at most {aim}"
            print(f"| {name} | {words}: {limit} | {'' if held else 'not reached: '}{figure:.2f} |")
    for name, document in documents.items():
        layers = document.sensitivity.layers if document.sensitivity else []
        kept = ", ".join(layer.layer for layer in layers if layer.kept_fp32) or "none"
        print(f"{name}: {document.rows} rows, recommended {document.recommended}, kept in fp32: {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

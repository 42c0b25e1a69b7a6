"""The memory of a training, predicted before it begins, against its measured peak.

Run: python benchmarks/fit.py [MODEL ...]      (default: every model; prints a table for RESULTS.md)

Each model is trained by the command line in a process of its own, on a processor, with one thread, on data that is made
for it; the peak is the largest resident set that the kernel saw of that process, of several the largest sum. The
prediction is what `deepseek fit` prints, from the spec and the data: rows, columns, bytes, tokens of texts, a base's
config.json. Aim: within 20 % for every model.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psutil
from fit_data import Maker, make_images, make_language, make_marked_texts, make_table

from deepseek.cli import COMMANDS
from deepseek.fit.facts import read_facts
from deepseek.fit.families import estimate_memory

AIM = 0.2
TABLE = {"task": "regression", "target": "y", "epochs": 1}


@dataclass(frozen=True)
class Model:
    """One training: what is told of it, and what makes its data in a folder."""

    words: str
    spec: dict[str, Any]
    make: Maker
    command: str = "train"


def build_table_spec(size: int, **more: Any) -> dict[str, Any]:
    """A spec on a table whose every batch has `size` rows."""
    return {**TABLE, **build_spec(size, **more)}


def build_spec(size: int, **more: Any) -> dict[str, Any]:
    """A spec whose every batch has `size` examples."""
    return {"schedule": {"first_batch": size, "last_batch": size}, **more}


BASE = {
    "vocab_size": 16_000,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "moe_intermediate_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "q_lora_rank": 256,
    "kv_lora_rank": 128,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 32,
    "v_head_dim": 64,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 1024,
}
"""Of a small model of the architecture of DeepSeek V3."""
MODELS = {
    "mlp-default": Model("2,000 rows of 10, hidden 64, 64", dict(TABLE), make_table(2_000, 10)),
    "mlp-rows": Model("3,000,000 rows of 10, batch 8,192", build_table_spec(8192), make_table(3_000_000, 10)),
    "mlp-columns": Model("100,000 rows of 200, batch 8,192", build_table_spec(8192), make_table(100_000, 200)),
    "mlp-wide": Model(
        "2,000 rows of 10, hidden 3 x 4,096", build_table_spec(256, hidden=[4096] * 3), make_table(2_000, 10)
    ),
    "mlp-checkpoint": Model(
        "the same, with a checkpoint",
        build_table_spec(256, hidden=[4096] * 3, checkpoint_every=3),
        make_table(2_000, 10),
    ),
    "mlp-batch": Model(
        "20,000 rows of 10, hidden 4 x 1,024, the whole as one batch, tanh",
        build_table_spec(16_384, hidden=[1024] * 4),
        make_table(20_000, 10),
    ),
    "mlp-dropout": Model(
        "the same, relu and dropout",
        build_table_spec(16_384, hidden=[1024] * 4, activation="relu", dropout=0.1),
        make_table(20_000, 10),
    ),
    "mlp-gelu-micro": Model(
        "the same, gelu, micro-batch 4,096",
        build_table_spec(16_384, hidden=[1024] * 4, activation="gelu", micro_batch=4096),
        make_table(20_000, 10),
    ),
    "mlp-bf16": Model(
        "the same, tanh and bf16", build_table_spec(16_384, hidden=[1024] * 4, precision="bf16"), make_table(20_000, 10)
    ),
    "mlp-forecast": Model(
        "500,000 values, 256 lags, hidden 512, 512, batch 16,384",
        {**build_table_spec(16_384, hidden=[512, 512]), "task": "forecast", "lags": 256},
        make_table(500_000, 2),
    ),
    "image-resnet18": Model(
        "120 images, ResNet-18 at 224 x 224, batch 16",
        build_spec(16, epochs=1),
        make_images(120),
        "train-image",
    ),
    "image-mobilenet": Model(
        "240 images, MobileNetV3 small at 224 x 224, batch 64",
        build_spec(64, epochs=1, backbone="mobilenet_v3_small"),
        make_images(240),
        "train-image",
    ),
    "image-checkpointing": Model(
        "240 images, MobileNetV3 large at 224 x 224, batch 32, activation checkpointing",
        build_spec(32, epochs=1, backbone="mobilenet_v3_large", activation_checkpointing=True),
        make_images(240),
        "train-image",
    ),
    "entities-default": Model(
        "2,000 texts of 60 words", build_spec(64, epochs=1), make_marked_texts(2000, 60), "train-entities"
    ),
    "entities-wide": Model(
        "600 texts of 120 words, width 512, 4 layers of 8 heads, batch 64",
        build_spec(64, epochs=1, width=512, layers=4, heads=8),
        make_marked_texts(600, 120),
        "train-entities",
    ),
    "language-full": Model(
        "V3 of 41 million weights, all trained, 40 texts of 128 tokens, micro-batch 8",
        build_spec(16, epochs=1, method="full", samples=2, answer_tokens=8),
        make_language(40, 128, **BASE),
        "train-language",
    ),
    "language-lora": Model(
        "the same, adapters of rank 16",
        build_spec(16, epochs=1, samples=2, answer_tokens=8),
        make_language(40, 128, **BASE),
        "train-language",
    ),
    "language-fsdp": Model(
        "the same, all trained, shared out over two processes (FSDP2)",
        build_spec(16, epochs=1, method="full", samples=2, answer_tokens=8, strategy="fsdp", processes=2),
        make_language(40, 128, **BASE),
        "train-language",
    ),
    "language-recompute": Model(
        "the same, all trained, 512 tokens, activations recomputed",
        build_spec(16, epochs=1, method="full", samples=2, answer_tokens=8, activation_checkpointing=True),
        make_language(24, 512, **BASE),
        "train-language",
    ),
}


def measure(model: Model, folder: Path) -> tuple[int, int]:
    """(predicted, measured) bytes."""
    data = model.make(folder)
    command = COMMANDS[model.command]
    module, _, name = command.spec.partition(":")
    spec = getattr(import_module(module), name)(**model.spec)
    kind = model.command.replace("-", "_")
    estimate = estimate_memory(kind, spec, read_facts(kind, data, spec))
    assert estimate is not None
    path = folder / "spec.json"
    path.write_text(json.dumps(model.spec))
    words = [sys.executable, "-m", "deepseek.cli", model.command, *data, "-o", folder / "model", "--spec", path]
    root = str(Path(__file__).resolve().parents[1])
    with (folder / "log").open("wb") as log:
        child = psutil.Popen(words, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": root})
        together = watch_tree(child) if model.spec.get("processes", 1) > 1 else 0
        _pid, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit((folder / "log").read_text()[-2000:])
    return estimate.host.total, together or usage.ru_maxrss * 1024


def watch_tree(child: psutil.Popen) -> int:
    """The most that the resident sets of a process and all below it were together, looked at ten times a second."""
    most = 0
    while child.status() != psutil.STATUS_ZOMBIE:
        with suppress(psutil.NoSuchProcess):  # one that has just ended
            most = max(most, sum(each.memory_info().rss for each in (child, *child.children(recursive=True))))
        time.sleep(0.1)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], metavar="MODEL", help=", ".join(MODELS))
    chosen = parser.parse_args().models or list(MODELS)
    print("| model | what it is | predicted, MB | measured peak, MB | ratio |\n|---|---|---|---|---|")
    missed = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            predicted, measured = measure(MODELS[name], Path(folder))
        ratio = predicted / measured
        missed += [name] if abs(ratio - 1) > AIM else []
        print(
            f"| {name} | {MODELS[name].words} | {predicted / 1e6:,.0f} | {measured / 1e6:,.0f} | {ratio:.2f} |",
            flush=True,
        )
    print(
        f"\n{len(chosen) - len(missed)} of {len(chosen)} within {AIM:.0%}"
        + f"; not: {', '.join(missed)}" * bool(missed)
    )


if __name__ == "__main__":
    main()

"""A trade-off of five forms as a quantize job writes it: one is recommended, the others are not, each for a reason."""

from __future__ import annotations

from typing import Any

from deepseek.quantize.document import Tradeoff

PARENT = 0.97


def build_form(name: str, verdict: str, us: float, loss: float, high: float, **fields: Any) -> dict[str, Any]:
    """A form that loses `loss` points of accuracy, up to `high`, and takes `us` microseconds at batch 1."""
    base, change = {"confidence": 0.95, "better": "higher"}, -loss / 100
    metric = {"name": "accuracy", "value": PARENT + change, "low": PARENT + change - 0.02, "high": PARENT + 0.02}
    difference = {"name": "accuracy", "value": change, "low": -high / 100, "high": change + (high - loss) / 100}
    timings = [
        {"batch": batch, "threads": threads, "runs": 200, "p50_us": us * factor, "p95_us": us * factor * 1.5}
        | {"ratio": 1000 / us}
        for threads, batch, factor in ((1, 1, 1), (1, 32, 20), (4, 1, 0.8), (4, 32, 8))
    ]
    return {
        "name": name,
        "precision": "fp32" if name == "fp32" else "int8",
        "method": f"method of {name}",
        "runtime": "torch",
        "format": "torchscript",
        "slot": None if name in ("fp32", "int8-torchao") else name.replace("-", "_"),
        "path": None,
        "sha256": None,
        "size_bytes": 4_000_000 if name == "fp32" else 1_000_000,
        "size_ratio": 1.0 if name == "fp32" else 4.0,
        "memory_bytes": 9_000_000,
        "timings": timings,
        "metrics": [metric | base],
        "difference": [difference | base],
        "loss": {"metric": "accuracy", "value": loss, "low": 2 * loss - high, "high": high, "unit": "points"},
        "max_relative_error": 0.01,
        "batch_dependence": {"depends": name == "int8", "largest": 0.01, "rows": 64, "batches": [1, 32]},
        "verdict": verdict,
        "promotable": verdict != "loses_accuracy",
    } | fields


def build_layer(name: str, loss: float, *, kept: bool = False) -> dict[str, Any]:
    bounds = {"low": loss / 2, "high": loss * 1.5}
    return {"layer": name, "kind": "Linear", "parameters": 1024, "relative_error": 0.01, "kept_fp32": kept} | {
        "loss": {"metric": "accuracy", "value": loss, "unit": "points"} | bounds
    }


def build_tradeoff(**fields: Any) -> Tradeoff:
    document = {
        "family": "mlp",
        "task": "classification",
        "target": "kind",
        "parent": "a" * 64,
        "heldout": "b" * 64,
        "rows": 400,
        "confidence": 0.95,
        "allowed": {"metric": "accuracy", "limit": 0.5, "unit": "points"},
        "tie": 0.2,
        "recommended": "int8-static",
        "batches": [1, 32],
        "threads": [1, 4],
        "variants": [
            build_form("fp32", "parent", 1000, 0, 0),
            build_form("int8", "uncertain", 300, 0.2, 0.9),
            build_form("int8-onnx", "loses_accuracy", 250, 1.5, 2.5),
            build_form("int8-static", "recommended", 200, 0.1, 0.3, layers_in_fp32=["layers.2"], calibration_rows=64),
            build_form("int8-torchao", "slower", 1600, 0, 0.2),
        ],
        "sensitivity": {
            "method": "one layer at a time",
            "rows": 256,
            "bound": 0.5,
            "layers": [build_layer("layers.0", 0.05), build_layer("layers.2", 1.25, kept=True)],
            "skipped": ["head"],
        },
        "left_out": [{"name": "int8-torchao", "reason": "package_missing", "detail": "<torchao>"}],
        "machine": {"arch": "x86_64", "cores": 4, "processor": "A processor"},
        "notes": ["Times of a machine that does other work too."],
    }
    return Tradeoff.model_validate(document | fields)

"""Every kind of job whose memory can be estimated before it runs. Light to import: the web process reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepseek.fit.entities import build_entities_facts
from deepseek.fit.images import build_image_facts
from deepseek.fit.language import build_language_facts
from deepseek.fit.memory import DataFacts, MemoryEstimate, TrainingFacts, estimate_training
from deepseek.fit.tables import build_table_facts

FAMILIES: dict[str, Callable[..., TrainingFacts | None]] = {
    "train": build_table_facts,
    "train_image": build_image_facts,
    "train_entities": build_entities_facts,
    "train_language": build_language_facts,
}
"""Kind -> what its network and its data cost, from (spec, facts, on_gpu=); None where too little is known."""


def estimate_memory(kind: str, spec: Any, facts: DataFacts, *, nodes: int = 1, gpus: int = 0) -> MemoryEstimate | None:
    """The peak memory of a job of this kind on each of its nodes; None for a kind that does not train, and for a
    language model of which nothing is known.
    """
    if kind not in FAMILIES:
        return None
    used = gpus if spec.device != "cpu" else 0
    training = FAMILIES[kind](spec, facts, on_gpu=used > 0)
    return estimate_training(spec, training, nodes=nodes, gpus=used) if training is not None else None

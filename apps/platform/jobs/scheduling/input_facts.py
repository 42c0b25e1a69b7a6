"""What is known of a job's inputs before it is queued, for the estimate of its memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from apps.core.errors import PlaneError
from apps.core.registry import Registry
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.verification import read_verified
from deepseek.fit.architectures import CONFIG, TENSORS, parse_config
from deepseek.fit.memory import DataFacts
from deepseek.images.spec import IMAGES
from deepseek.language.spec import BASE, TEXTS

INPUT_FACTS: Registry[Callable[[Project, Collection[str]], DataFacts | None]] = Registry("INPUT_FACTS")
"""By app: what it knows of the first of these artifacts that it knows, from (project, digests)."""
MAX_CONFIG_BYTES = 2**20  # of a config.json; no network needs more words
LISTS = (".csv", ".jsonl")  # files of a folder of images that name its images
Inputs = Mapping[str, Artifact]
"""Slot -> what fills it."""


def find_input_facts(project: Project, kind: str, inputs: Inputs) -> DataFacts:
    """What the estimate for this kind takes of the inputs that are filled by artifacts."""
    return FINDERS.get(kind, find_file_facts)(project, inputs)


def find_file_facts(project: Project, inputs: Inputs) -> DataFacts:
    """Of the first input that an app knows, else the bytes of all."""
    sizes = {artifact.digest: artifact.size for artifact in inputs.values()}
    for find_facts in INPUT_FACTS.values():
        facts = find_facts(project, list(sizes)) if sizes else None
        if facts is not None:
            return facts
    return DataFacts(file_bytes=sum(sizes.values()))


def find_text_facts(project: Project, inputs: Inputs) -> DataFacts:
    """Of the texts alone: the weights of an earlier model say nothing of them."""
    return find_file_facts(project, {slot: artifact for slot, artifact in inputs.items() if slot == TEXTS})


def find_image_facts(project: Project, inputs: Inputs) -> DataFacts:
    """How many images there are; their classes as the newest version that has the table of their labels counts them."""
    files = {slot: artifact for slot, artifact in inputs.items() if slot.partition("/")[0] == IMAGES}
    images = [artifact.size for slot, artifact in files.items() if not slot.endswith(LISTS)]
    if not images:
        return DataFacts()
    lists = {slot: artifact for slot, artifact in files.items() if slot.endswith(LISTS)}
    classes = find_file_facts(project, lists).classes if lists else None
    return DataFacts(rows=len(images), file_bytes=sum(images), classes=classes)


def find_language_facts(project: Project, inputs: Inputs) -> DataFacts:
    """Of the texts, and of the base model: its config.json, and the bytes of its tensors."""
    base = {slot: artifact for slot, artifact in inputs.items() if slot.partition("/")[0] == BASE}
    tensors = sum(artifact.size for slot, artifact in base.items() if slot == BASE or slot.endswith(TENSORS))
    config = base.get(f"{BASE}/{CONFIG}")
    return replace(
        find_text_facts(project, inputs),
        base=read_config(config) if config is not None else None,
        base_bytes=tensors,
    )


def read_config(artifact: Artifact) -> dict[str, Any] | None:
    """The JSON object of a base model's config.json; None where it cannot be read."""
    if artifact.size > MAX_CONFIG_BYTES:
        return None
    with suppress(PlaneError, OSError):
        return parse_config(read_verified(artifact))
    return None


FINDERS: dict[str, Callable[[Project, Inputs], DataFacts]] = {
    "train_image": find_image_facts,
    "train_entities": find_text_facts,
    "train_language": find_language_facts,
}
"""Kind -> what finds the facts, where it is not those of the first file."""

"""The held-out texts and the samples that a training of entities writes beside its model."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from deepseek.entities.tags import Span
from deepseek.entities.texts import MarkedText
from deepseek.models.folder import TEXT_HELDOUT_NAME as HELDOUT_NAME

__all__ = ["HELDOUT_NAME", "HELDOUT_TYPE", "SAMPLES_NAME", "SAMPLES_TYPE", "write_samples", "write_texts"]

HELDOUT_TYPE = "application/x-ndjson"
SAMPLES_NAME = "samples.json"
SAMPLES_TYPE = "application/vnd.plane.samples+json"
MAX_SAMPLES = 50
MAX_SAMPLE_TEXT = 20_000  # characters


def write_texts(texts: Iterable[MarkedText], path: Path) -> None:
    """Write the texts as JSON lines; equal texts give equal bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for text in texts:
            record = {"text": text.text, "spans": [span.as_dict() for span in text.spans]}
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_samples(texts: Sequence[MarkedText], found: Sequence[Sequence[Span]], path: Path) -> None:
    """Write the texts with the most spans that are missing or wrong, the most wrong first."""
    faults = [len(set(text.spans) ^ set(spans)) for text, spans in zip(texts, found, strict=True)]
    order = sorted((place for place, count in enumerate(faults) if count), key=lambda place: (-faults[place], place))
    samples = [
        {
            "text": texts[place].text,
            "target": [span.as_dict() for span in texts[place].spans],
            "prediction": [span.as_dict() for span in found[place]],
        }
        for place in order
        if len(texts[place].text) <= MAX_SAMPLE_TEXT
    ]
    document = {"schema": "plane/samples/v1", "kind": "text", "samples": samples[:MAX_SAMPLES]}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

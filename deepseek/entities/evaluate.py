"""Measure a model of entities on texts: what `deepseek evaluate` does for this family."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.entities.predictor import EntitiesPredictor, open_entities
from deepseek.entities.scores import TASK, count_spans, list_measures, sum_blocks
from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.tags import Span
from deepseek.entities.texts import MarkedText, read_texts
from deepseek.evaluate.bootstrap import Series, build_series, compute_pairing, serialize_series
from deepseek.evaluate.document import Evaluation
from deepseek.evaluate.examples import require_enough
from deepseek.evaluate.latency import measure_latencies, measure_memory, open_and_measure
from deepseek.evaluate.measures import build_sum_measures
from deepseek.evaluate.outputs import write_documents
from deepseek.evaluate.rows import ROWS_NAME
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.evaluate.table_fields import refuse_table_fields
from deepseek.job import Report
from deepseek.messages import Message
from deepseek.models.evaluate import assign_blocks, draw_blocks
from deepseek.models.manifest import ModelManifest, compute_file_sha256

CHUNK = 256  # texts between two reports of progress


def evaluate_texts(
    spec: EvaluateSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> Evaluation:
    """Write the three files of an evaluation into `stage` and return its document.

    The slot ``table`` holds texts with spans, in any format that the training reads; labels that the model does not
    know are ignored. Raises EngineError ``family_unsupported`` for fields that only tables have, and what
    `read_texts` and `open_entities` do.
    """
    refuse_table_fields(spec, "entities")
    marked = read_texts(inputs["table"], EntitiesSpec(labels=list(manifest.classes), other_labels="ignore"), "table")
    texts = marked.texts[spec.first_row :]
    require_enough(len(texts))
    predictor, model_bytes = open_and_measure(
        lambda: open_entities(manifest, inputs["model"]), lambda model: model.predict([texts[0].text])
    )
    predictions = _predict(predictor, texts, report)
    rows = np.arange(len(texts), dtype=np.int64) + spec.first_row
    series, pairing = _measure(spec, manifest.classes, texts, predictions, rows)
    _write_rows(stage / ROWS_NAME, rows, texts, predictions)
    document = Evaluation(
        schema="plane/evaluation/v1",
        task="entities",
        target=manifest.target,
        variant=manifest.variant,
        format=manifest.format,
        model=manifest.file.sha256,
        manifest=compute_file_sha256(inputs["manifest"]),
        table=compute_file_sha256(inputs["table"]),
        rows=len(texts),
        left_out=marked.counts.empty,
        spec=spec.model_dump(mode="json"),
        pairing=pairing,
        replicates=spec.replicates,
        metrics=[figure.metric for figure in series],
        slices=[],
        latency=measure_latencies(partial(_bind, predictor, texts), spec, report),
        size_bytes=manifest.file.size,
        memory=measure_memory(model_bytes),
        notes=_list_notes(marked.counts.other_label),
    )
    write_documents(stage, document, serialize_series(series, None))
    return document


def _list_notes(ignored: int) -> list[str]:
    if not ignored:
        return []
    return [Message("{ignored:,} spans have labels that the model does not know; they are ignored.", ignored=ignored)]


def _predict(predictor: EntitiesPredictor, texts: Sequence[MarkedText], report: Report) -> list[list[Span]]:
    predictions: list[list[Span]] = []
    for start in range(0, len(texts), CHUNK):
        report.progress(start, len(texts), "texts", stage="compare")
        predictions += predictor.predict([text.text for text in texts[start : start + CHUNK]])
    report.progress(len(texts), len(texts), "texts", stage="compare")
    return predictions


def _measure(
    spec: EvaluateSpec,
    labels: Sequence[str],
    texts: Sequence[MarkedText],
    found: Sequence[Sequence[Span]],
    rows: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> tuple[list[Series], str]:
    """The figures with their replicates, and what decides which texts each of those drew."""
    target = [text.spans for text in texts]
    blocks = assign_blocks(TASK, len(texts), spec.seed, 1)
    sums = sum_blocks(count_spans(target, found, labels), blocks)
    measures = build_sum_measures(sums, [(name, "higher", of) for name, of in list_measures(labels)])
    draws = draw_blocks(len(sums), spec.seed, spec.replicates).astype(np.float64)
    series = build_series(measures, draws, confidence=spec.confidence, method="bootstrap", rows=len(texts))
    content = json.dumps([[text.text, [span.as_dict() for span in text.spans]] for text in texts])
    right = np.frombuffer(hashlib.sha256(content.encode()).digest(), np.uint8)
    return series, compute_pairing(rows, right, labels, blocks, spec.seed, spec.replicates)


def _write_rows(path: Path, rows: object, texts: Sequence[MarkedText], found: Sequence[Sequence[Span]]) -> None:
    """A row per text: its place in the file from 0, spans marked and found as JSON, and how many of them differ."""

    def serialize(spans: Sequence[Span]) -> str:
        return json.dumps([span.as_dict() for span in spans], ensure_ascii=False, separators=(",", ":"))

    columns = {
        "row": rows,
        "target": [serialize(text.spans) for text in texts],
        "prediction": [serialize(spans) for spans in found],
        "loss": [float(len(set(text.spans) ^ set(spans))) for text, spans in zip(texts, found, strict=True)],
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def _bind(predictor: EntitiesPredictor, texts: Sequence[MarkedText], batch: int) -> Callable[[], object]:
    """A call from so many texts to their spans."""
    of = [texts[number % len(texts)].text for number in range(batch)]
    return lambda: predictor.predict(of)

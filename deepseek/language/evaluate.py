"""Measure a language model on texts: what `deepseek evaluate` does for this family."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from deepseek.evaluate.bootstrap import Series, build_series, compute_pairing, serialize_series
from deepseek.evaluate.document import Evaluation
from deepseek.evaluate.examples import TABLE, require_enough
from deepseek.evaluate.latency import measure_latencies, measure_memory, open_and_measure
from deepseek.evaluate.measures import Blocks, Floats, Measure, build_sum_measures, sum_by_block
from deepseek.evaluate.outputs import write_documents
from deepseek.evaluate.rows import ROWS_NAME
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.evaluate.table_fields import refuse_table_fields
from deepseek.job import EngineError, Report
from deepseek.language.learner import build_batch
from deepseek.language.loading import LoadedModel, load_model
from deepseek.language.measures import TextLosses, measure_texts
from deepseek.language.spec import BASE, LanguageSpec
from deepseek.language.texts import Text, Texts, read_texts
from deepseek.messages import Message
from deepseek.models.evaluate import assign_blocks, draw_blocks
from deepseek.models.manifest import ModelManifest, compute_file_sha256

TASK = "language"
CPU = torch.device("cpu")
CHUNK = 32  # texts between two reports of progress
LARGEST_LOG = 700.0  # exp of more is no float


def evaluate_answers(
    spec: EvaluateSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> Evaluation:
    """Write the three files of an evaluation into `stage` and return its document.

    The slot ``table`` holds JSON lines as the training takes them; texts longer than the model's positions are cut.
    Perplexity and token accuracy are of the tokens of the answers. Raises EngineError ``family_unsupported`` for fields
    that only tables have, ``rows_too_few``, and what `load_model` and `read_texts` do.
    """
    refuse_table_fields(spec, TASK)
    loaded, model_bytes = open_and_measure(
        lambda: load_model(manifest, inputs["model"], inputs.get(BASE)),
        lambda model: model.network.compute_logits(torch.zeros((1, 1), dtype=torch.int64), torch.tensor([0])),
    )
    texts = _read_texts(inputs["table"], loaded)
    rows = [text for text in texts.rows if text.line > spec.first_row]
    require_enough(len(rows))
    losses = _measure_losses(loaded, rows, report)
    _require_finite(losses, rows)
    series, pairing = _build_figures(spec, rows, losses)
    _write_rows(stage / ROWS_NAME, rows, losses)
    document = Evaluation(
        schema="plane/evaluation/v1",
        task=TASK,
        target=manifest.target,
        variant=manifest.variant,
        format=manifest.format,
        model=manifest.file.sha256,
        manifest=compute_file_sha256(inputs["manifest"]),
        table=compute_file_sha256(inputs["table"]),
        rows=len(rows),
        left_out=texts.skipped,
        spec=spec.model_dump(mode="json"),
        pairing=pairing,
        replicates=spec.replicates,
        metrics=[figure.metric for figure in series],
        slices=[],
        latency=measure_latencies(partial(_bind, loaded, rows), spec, report),
        size_bytes=manifest.file.size,
        memory=measure_memory(model_bytes),
        notes=_list_notes(texts),
    )
    write_documents(stage, document, serialize_series(series, None))
    return document


def _read_texts(path: Path, loaded: LoadedModel) -> Texts:
    """The file's texts. Errors name the slot of the evaluation, which has neither texts nor a template to give."""
    try:
        return read_texts(path, LanguageSpec(), loaded.tokenizer, loaded.context)
    except EngineError as error:
        error.field = TABLE
        raise


def _measure_losses(loaded: LoadedModel, texts: Sequence[Text], report: Report) -> TextLosses:
    parts = []
    for start in range(0, len(texts), CHUNK):
        report.progress(start, len(texts), "texts", stage="compare")
        parts.append(measure_texts(loaded.network, texts[start : start + CHUNK], CPU))
    report.progress(len(texts), len(texts), "texts", stage="compare")
    losses, hits, tokens = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("losses", "hits", "tokens")
    )
    return TextLosses(losses, hits, tokens)


def _require_finite(losses: TextLosses, texts: Sequence[Text]) -> None:
    wrong = np.flatnonzero(~np.isfinite(losses.losses))
    if wrong.size:
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the rows.",
            field="inputs/model",
            value=f"line {texts[int(wrong[0])].line}",
            limit="finite values",
        )


def _build_figures(spec: EvaluateSpec, texts: Sequence[Text], losses: TextLosses) -> tuple[list[Series], str]:
    """The figures with their replicates, and what decides which texts each of those drew."""
    blocks = assign_blocks(TASK, len(texts), spec.seed, 1)
    measures = _build_measures(losses, blocks)
    draws = draw_blocks(int(blocks.max()) + 1, spec.seed, spec.replicates).astype(np.float64)
    series = build_series(measures, draws, confidence=spec.confidence, method="bootstrap", rows=len(texts))
    rows = np.array([text.line - 1 for text in texts], dtype=np.int64)
    # Perplexity is of a token: two models whose tokens differ are not compared by it.
    content = json.dumps([[text.prompt, text.answer, text.tokens[text.targets].tolist()] for text in texts])
    right = np.frombuffer(hashlib.sha256(content.encode()).digest(), np.uint8)
    return series, compute_pairing(rows, right, [], blocks, spec.seed, spec.replicates)


def _build_measures(losses: TextLosses, blocks: Blocks) -> list[Measure]:
    sums = sum_by_block([losses.losses, losses.hits, losses.tokens], blocks, int(blocks.max()) + 1)

    def compute_perplexity(of: Floats) -> Floats:
        return np.asarray(np.exp(np.minimum(of[:, 0] / of[:, 2], LARGEST_LOG)))

    def compute_token_accuracy(of: Floats) -> Floats:
        return np.asarray(of[:, 1] / of[:, 2])

    return build_sum_measures(
        sums, [("perplexity", "lower", compute_perplexity), ("token_accuracy", "higher", compute_token_accuracy)]
    )


def _write_rows(path: Path, texts: Sequence[Text], losses: TextLosses) -> None:
    """A row per text: its line from 0, its answer, how many tokens of that there are and how many are predicted right,
    and their mean loss in nats."""
    columns: dict[str, Any] = {
        "row": np.array([text.line - 1 for text in texts], dtype=np.int64),
        "target": [text.answer for text in texts],
        "tokens": losses.tokens.astype(np.int64),
        "hits": losses.hits.astype(np.int64),
        "loss": losses.losses / losses.tokens,
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def _bind(loaded: LoadedModel, texts: Sequence[Text], batch: int) -> Callable[[], object]:
    """A call from the tokens of so many texts to the scores of the answers' tokens."""
    tokens, places, _labels = build_batch([texts[number % len(texts)] for number in range(batch)], CPU)

    def call() -> object:
        with torch.no_grad():
            return loaded.network.compute_logits(tokens, places)

    return call


def _list_notes(texts: Texts) -> list[str]:
    notes: list[str] = []
    if texts.cut:
        notes.append(
            Message("{count:,} texts were cut: they are longer than the model has positions.", count=texts.cut)
        )
    if texts.skipped:
        notes.append(
            Message(
                "{count:,} texts were skipped: what is left of them within the model's positions has no answer.",
                count=texts.skipped,
            )
        )
    return notes

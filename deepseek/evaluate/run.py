"""Measure one model on one table, or on texts or images: the entry point of the capability."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepseek.evaluate.examples import Examples, read_evaluation
from deepseek.evaluate.latency import measure_latencies, measure_memory, open_and_measure
from deepseek.evaluate.measurement import Answers, Measurement
from deepseek.evaluate.measures import Outputs
from deepseek.evaluate.outputs import build_evaluation_result, write_outputs
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.job import EngineError, Report, Result, stage_outputs
from deepseek.language.spec import BASE
from deepseek.messages import N_, Message
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.predictor import open_model
from deepseek.models.source import predict_in_batches
from deepseek.tables.parts import compute_table_sha256

SLOTS = ("model", "manifest", "table")
CHUNK = 8192  # rows of one call, so that memory does not grow with the rows


def run(spec: EvaluateSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Measure the model in the slots ``model`` and ``manifest``, in any of its forms, on the table in ``table``;
    a model of entities or a language model on a file of texts, one of images on a folder of them, as their trainings
    take them. An adapter of a language model takes its base in the slot ``base``.

    Writes ``evaluation.json`` (whose meta is the whole document), ``rows.parquet`` and ``replicates.json`` into the
    folder `out`. Equal inputs and spec give equal bytes of rows and replicates; the evaluation also holds times and
    memory, which are measured.

    Raises EngineError: ``wrong_inputs``, ``model_tampered``, ``positive_unknown``, ``outputs_not_finite``,
    ``relevance_negative``, and what `open_model`, `read_evaluation` and `split_into_slices` find wrong with a file.
    """
    if set(inputs) - {BASE} != set(SLOTS):
        raise _build_input_error(inputs)
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        manifest = ModelManifest.read(inputs["manifest"])
        if inputs["table"].is_dir() and manifest.task in ("language", "entities"):
            raise EngineError(
                "wrong_inputs",
                "A model of the task {task} is measured on one file, and the input table is a folder.",
                task=manifest.task,
                field="inputs/table",
                limit="a file",
                hint=N_("Give the file; a folder is for models of tables, as Parquet parts, and of images."),
            )
        if manifest.task == "language":
            from deepseek.language.evaluate import evaluate_answers  # another family: not loaded for tables

            return build_evaluation_result(evaluate_answers(spec, manifest, inputs, stage, report), report)
        if BASE in inputs:
            raise _build_input_error(inputs)
        if manifest.task == "entities":
            from deepseek.entities.evaluate import evaluate_texts  # as above

            return build_evaluation_result(evaluate_texts(spec, manifest, inputs, stage, report), report)
        if manifest.architecture.type == "image":
            from deepseek.images.evaluate import evaluate_images  # as above

            return build_evaluation_result(evaluate_images(spec, manifest, inputs, stage, report), report)
        examples = read_evaluation(inputs["table"], manifest, spec)
        features = examples.features
        predictor, model_bytes = open_and_measure(
            lambda: open_model(manifest, inputs["model"]), lambda model: model.predict(features[:1])
        )
        outputs = predict_in_batches(predictor, features, CHUNK, report)
        _require_finite(outputs, examples)
        measured = Measurement(spec, Answers(manifest.task, list(manifest.classes), outputs), examples)
        sliced, notes = measured.measure_slices(report), []
        if examples.left_out:
            notes.append(
                Message(
                    "{left_out:,} rows lack an input or the target; they are not measured.", left_out=examples.left_out
                )
            )
        document = write_outputs(
            stage,
            measured,
            sliced,
            notes,
            target=manifest.target,
            variant=manifest.variant,
            format=manifest.format,
            model=manifest.file.sha256,
            manifest=compute_file_sha256(inputs["manifest"]),
            table=compute_table_sha256(inputs["table"]),
            latency=measure_latencies(
                lambda batch: predictor.bind(np.resize(features, (batch, features.shape[1]))), spec, report
            ),
            size_bytes=manifest.file.size,
            memory=measure_memory(model_bytes),
        )
    return build_evaluation_result(document, report)


def _build_input_error(inputs: Mapping[str, Path]) -> EngineError:
    return EngineError(
        "wrong_inputs",
        "Evaluating takes a model, its manifest and a table.",
        field="inputs",
        value=", ".join(sorted(inputs)) or "none",
        limit=", ".join(SLOTS),
        hint=N_("Give the two files of a model and the table to measure it on."),
    )


def _require_finite(outputs: Outputs, examples: Examples) -> None:
    wrong = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if wrong.size:
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the rows.",
            field="inputs/model",
            value=f"data row {int(examples.rows[wrong[0]]) + 1}",
            limit="finite values",
            hint=N_("Train with a lower max_lr, and look for extreme values in the features."),
        )

"""Make the samples by which devices check one form of a model: the entry point of the capability."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.agent.updating.health import measure_difference
from deepseek.entities.predictor import open_entities
from deepseek.entities.spec import EntitiesSpec
from deepseek.entities.texts import read_texts
from deepseek.health.spec import HealthSamplesSpec
from deepseek.job import EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.models.heldout import read_heldout
from deepseek.models.manifest import EntitiesArchitecture, LanguageArchitecture, ModelManifest
from deepseek.models.predictor import open_model
from deepseek.serve.handlers import Handler, Inputs, build_handler

SCHEMA = "plane/health-samples/v1"
SAMPLES_NAME = "samples.json"
SAMPLES_TYPE = "application/vnd.plane.health-samples+json"
FLOOR = 1e-4
"""Tolerance of a form that gives what the trained model gives: processors add in different orders. As in `compile`."""
ROOM = 2.0
"""Of a form that does not, as 8-bit ones: it may differ from itself on another processor by twice what its 8 bits cost,
since processors round and saturate integer sums differently."""
MAX_VALUES = 1 << 18
"""Numbers of all rows: an image is a row of many, and the file goes to every device."""


@dataclass(frozen=True)
class Answers:
    """Rows and what a model answered, both as POST /predict has them."""

    rows: list[Any]
    predictions: list[Any]

    def select(self, places: list[int]) -> "Answers":
        return Answers([self.rows[place] for place in places], [self.predictions[place] for place in places])


def run(spec: HealthSamplesSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Answer held-out rows by the form in ``model`` and ``manifest``, and by the ``trained`` model that it was made
    from, whose manifest is ``trained_manifest``; ``heldout`` are rows of that one.

    Output ``samples``: rows and predictions, and how far a number may differ (relative above 1), as the agent measures
    it. Of texts only those remain that both models answer alike: others are too close to call. A form that this machine
    cannot run (compiled for another processor) is answered for by the trained model. Equal inputs give equal bytes on
    one machine. Raises EngineError ``family_unsupported``, ``samples_differ``, and whatever is wrong with a file.
    """
    manifest = ModelManifest.read(inputs["manifest"])
    trained = ModelManifest.read(inputs["trained_manifest"], "trained_manifest")
    _require_family(manifest)
    report.progress(0, 2, "models", stage="answer")
    rows = read_rows(inputs["heldout"], trained, spec.rows)
    reference = answer_rows(trained, inputs["trained"], rows)
    report.progress(1, 2, "models", stage="answer")
    try:
        answers, answered_by = answer_rows(manifest, inputs["model"], rows), "variant"
    except EngineError as error:
        if error.code != "machine_mismatch":
            raise
        answers, answered_by = reference, "trained"
        report.log(str(error.message), level="warning")
    gaps = [measure_difference(*pair) for pair in zip(answers.predictions, reference.predictions, strict=True)]
    alike = [place for place, gap in enumerate(gaps) if math.isfinite(gap)]
    if not alike or (manifest.task != "entities" and len(alike) < len(gaps)):
        raise EngineError(
            "samples_differ",
            "The form {variant} answers no held-out row as the trained model does.",
            variant=manifest.variant,
            field="inputs/model",
            value=f"{len(alike)} of {len(gaps)} rows",
            limit="answers of one shape",
            hint=N_("Look at its figures: such a form should not go out."),
        )
    answers = answers.select(alike)
    tolerance = max(FLOOR, ROOM * max(gaps[place] for place in alike))
    document = {
        "schema": SCHEMA,
        "variant": manifest.variant,
        "task": manifest.task,
        "answered_by": answered_by,
        "tolerance": tolerance,
        "rows": answers.rows,
        "predictions": answers.predictions,
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    report.progress(2, 2, "models", stage="answer")
    with stage_outputs(out) as stage:
        (stage / SAMPLES_NAME).write_text(f"{text}\n", encoding="utf-8", newline="")
    return Result(
        outputs=(Output("samples", SAMPLES_NAME, SAMPLES_TYPE, {"variant": manifest.variant}),),
        summary={
            "variant": manifest.variant,
            "rows": len(answers.rows),
            "tolerance": tolerance,
            "answered_by": answered_by,
        },
    )


def read_rows(path: Path, manifest: ModelManifest, count: int) -> Any:
    """So many of the held-out rows, spread over all of them; of a model of entities texts."""
    if isinstance(manifest.architecture, EntitiesArchitecture):
        spec = EntitiesSpec(labels=list(manifest.architecture.labels), other_labels="ignore")
        texts = read_texts(path, spec, "heldout").texts
        return [texts[place].text for place in spread(len(texts), count)]
    features = read_heldout(path, manifest).features
    count = max(1, min(count, MAX_VALUES // math.prod(features.shape[1:])))
    return features[spread(len(features), count)].astype(np.float32)


def spread(total: int, count: int) -> list[int]:
    """Up to `count` places from the first to the last of `total`."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(count, total))})


def answer_rows(manifest: ModelManifest, path: Path, rows: Any) -> Answers:
    """What a server of the model would answer. Raises EngineError, such as ``machine_mismatch``."""
    handler = open_handler(manifest, path, len(rows))
    inputs = Inputs(rows, len(rows), False)
    body = handler.encode(inputs, handler.predict(rows))
    features = handler.list_features(inputs)
    if manifest.architecture.type == "image":
        features = rows.astype(np.uint8).tolist()  # pixels as whole numbers: a third of the text
    return Answers(features, json.loads(body)["prediction"])


def open_handler(manifest: ModelManifest, path: Path, max_rows: int) -> Handler:
    predictor = open_entities(manifest, path) if manifest.task == "entities" else open_model(manifest, path)
    return build_handler(predictor, max_rows)


def _require_family(manifest: ModelManifest) -> None:
    if not isinstance(manifest.architecture, LanguageArchitecture):
        return
    raise EngineError(
        "family_unsupported",
        "{verb} takes models of tables, series, images and entities; this one is of the family {family}.",
        verb="Health samples",
        family=manifest.architecture.type,
        field="inputs/manifest",
        value=manifest.architecture.type,
        limit="mlp, image, entities",
        hint=N_("Release it without samples."),
    )

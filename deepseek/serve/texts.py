"""What goes over the wire of a model of entities: texts in, the spans of each out."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from pydantic_core import from_json, to_json

from deepseek.entities.tags import Span
from deepseek.job import EngineError
from deepseek.serve.messages import MOST_FAULTS, build_json_error, build_prediction_schema, build_too_many_error

TEXT_BYTES = 4096
"""A body may hold so many for each row that a request may have: most texts are shorter."""
LEAST_BYTES = 1 << 20
_EXAMPLE = '{"features": "..."} for one text, or {"features": ["...", "..."]} for several'


def compute_text_limit(max_rows: int) -> int:
    """Bytes that a body may have."""
    return max(LEAST_BYTES, max_rows * TEXT_BYTES)


def read_request_texts(body: bytes, *, max_rows: int) -> tuple[list[str], bool, list[EngineError]]:
    """The texts in `body`, whether it was one without a list around it, and all that is wrong with them."""
    try:
        document = from_json(body)
    except ValueError as error:
        return [], False, [build_json_error(str(error))]
    features = document.get("features") if isinstance(document, dict) else None
    if isinstance(features, str):
        return [features], True, []
    if not isinstance(features, list):
        return [], False, [_build_texts_error()]
    if len(features) > max_rows:
        return [], False, [build_too_many_error(len(features), max_rows)]
    faults = (_build_text_error(place) for place, text in enumerate(features) if not isinstance(text, str))
    return features, False, list(islice(faults, MOST_FAULTS))


def encode_spans(texts: Sequence[str], spans: Sequence[Sequence[Span]], single: bool) -> bytes:
    """``{"prediction": ...}``: the spans of one text, or a list of such lists; each quotes its words."""
    answers = list_spans(texts, spans)
    return to_json({"prediction": answers[0] if single else answers})


def list_spans(texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[list[dict[str, Any]]]:
    """The spans of each text, each with its words."""
    return [
        [{**span.as_dict(), "text": text[span.start : span.end]} for span in of]
        for text, of in zip(texts, spans, strict=True)
    ]


def _build_texts_error() -> EngineError:
    return EngineError(
        "features_missing",
        "The body has no texts as features.",
        field="/features",
        limit="a text, or a list of texts",
        hint=f"Send {_EXAMPLE}.",
    )


def _build_text_error(place: int) -> EngineError:
    return EngineError(
        "not_a_text",
        "The value is no text.",
        field=f"/features/{place}",
        limit="a JSON string",
        hint="Give every text as a string.",
    )


def build_texts_schema(labels: Sequence[str]) -> dict[str, Any]:
    """What OpenAPI says of POST /predict."""
    place, text = {"type": "integer", "minimum": 0}, {"type": "string"}
    properties = {"start": place, "end": place, "label": {"type": "string", "enum": list(labels)}, "text": text}
    spans = {"type": "array", "items": {"type": "object", "required": list(properties), "properties": properties}}
    return build_prediction_schema(
        {"oneOf": [text, {"type": "array", "items": text}]},
        {"oneOf": [spans, {"type": "array", "items": spans}]},
        "The spans of one text, or a list of such lists",
    )

"""What goes over the wire: the body of a request to rows, outputs to the body of an answer, refusals to theirs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from deepseek.job import EngineError
from deepseek.models.predictor_base import Predictor

Codes = Mapping[int, Mapping[str, int]]
Floats = npt.NDArray[np.float32]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
ROW = TypeAdapter(list[Number])
ROWS = TypeAdapter(Annotated[list[Annotated[list[Number], Field(strict=True), FailFast()]], FailFast()])
"""It stops at the first fault: to gather millions of them, for an answer that names 20, took minutes and gigabytes."""

MOST_FAULTS = 20
"""An answer names at most so many."""
NUMBER_BYTES = 32
"""No number needs more in JSON: a float64 has 24 characters at most, and there is room for a comma and blanks."""
_PARTS = ("code", "message", "field", "limit", "hint")
TEXT_BYTES = 1 << 10
"""A category has no more in JSON, beside what a number has."""
VALUES = ["number", "string", "boolean", "null"]
"""JSON types of a row's values where the model takes categories."""
_LARGEST = float(np.finfo(np.float32).max)
_NONE: Floats = np.empty((0, 0), np.float32)


def compute_body_limit(width: int, max_rows: int, categories: int = 0) -> int:
    """Bytes that `max_rows` rows of `width` values can need, of which `categories` are texts."""
    return 1024 + max_rows * (width * NUMBER_BYTES + categories * TEXT_BYTES + 8)


def read_rows(
    body: bytes, *, width: int, max_rows: int, codes: Codes | None = None
) -> tuple[Floats, bool, list[EngineError]]:
    """The features in `body` as (rows, width) float32, whether they were one row without a list around it, and all
    that is wrong with them (then there are no rows). `codes`: of the inputs that take categories."""
    try:
        document = from_json(body)
    except ValueError as error:
        return _NONE, False, [build_json_error(str(error))]
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list):
        return _NONE, False, [_build_features_error(document, width)]
    single = not (features and isinstance(features[0], list))
    if not single and len(features) > max_rows:
        return _NONE, False, [build_too_many_error(len(features), max_rows)]
    items = [features] if single else features
    faults = list(islice(encode_categories(items, codes, width, single), MOST_FAULTS)) if codes else []
    if faults:
        return _NONE, single, faults
    try:
        rows = ROWS.validate_python(items)
    except ValidationError:
        rows = items
        return _NONE, single, list(islice(_iterate_faults(rows, width, single), MOST_FAULTS))
    wrong = [index for index, row in enumerate(rows) if len(row) != width]
    if wrong:
        return (
            _NONE,
            single,
            [_build_width_error(index, len(rows[index]), width, single) for index in wrong[:MOST_FAULTS]],
        )
    with np.errstate(over="ignore"):
        features_array = np.array(rows, np.float32)
    if not np.isfinite(features_array).all():
        outside = np.argwhere(~np.isfinite(features_array))[:MOST_FAULTS]
        return (
            _NONE,
            single,
            [_build_range_error((int(at[1]),) if single else (int(at[0]), int(at[1]))) for at in outside],
        )
    return features_array, single, []


class RowsReader:
    """Reads the bodies of one model; where a row, or a list of rows, is all that it should be, in one pass."""

    def __init__(self, width: int, max_rows: int, codes: Codes) -> None:
        self._words: dict[str, Any] = {"width": width, "max_rows": max_rows, "codes": codes}
        number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
        row = Annotated[list[number], Field(min_length=width, max_length=width), FailFast()]
        rows = Annotated[list[row], Field(min_length=1, max_length=max_rows), FailFast()]
        several = TypedDict("several", {"features": rows})  # noqa: UP013  of this width alone
        one = TypedDict("one", {"features": row})  # noqa: UP013
        self._validate_rows = TypeAdapter(several).validator.validate_json
        self._validate_row = TypeAdapter(one).validator.validate_json
        self._takes_categories = bool(codes)

    def read(self, body: bytes) -> tuple[Floats, bool, list[EngineError]]:
        """As `read_rows`."""
        if self._takes_categories:
            return read_rows(body, **self._words)
        single = b"[[" not in body
        try:
            document = (self._validate_row if single else self._validate_rows)(body)
        except ValidationError:  # a list of texts, say: what is wrong is found here
            return read_rows(body, **self._words)
        features = document["features"]
        return np.array([features] if single else features, np.float32), single, []


def encode_categories(rows: Sequence[Any], codes: Codes, width: int, single: bool) -> Iterator[EngineError]:
    """Put codes where categories stand, and tell what can be none: a text, a whole number, true and false may be.

    null, and a category that the manifest does not list, is the code of no category. Rows of another width stay as they
    are and are refused later.
    """
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width:
            continue
        for place, words in codes.items():
            word = _format_category(row[place])
            if word is None and row[place] is not None:
                yield _build_category_error(row[place], (place,) if single else (index, place))
            row[place] = float(len(words) if word is None else words.get(word, len(words)))


def _format_category(value: Any) -> str | None:
    """The category as a manifest writes it; None where it is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) else None


def encode_prediction(outputs: Floats, single: bool) -> bytes:
    """``{"prediction": ...}``: one row of outputs, or a list of rows. Raises EngineError ``outputs_not_finite``."""
    body = to_json({"prediction": outputs[0].tolist() if single else outputs.tolist()}, inf_nan_mode="null")
    if b"null" in body:  # what a number that is none becomes
        require_finite(outputs, single)
    return body


def require_finite(outputs: Floats, single: bool) -> None:
    """Raise EngineError ``outputs_not_finite`` unless every output is a number."""
    if np.isfinite(outputs).all():
        return
    row = int(np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))[0])
    raise EngineError(
        "outputs_not_finite",
        "The model gives an infinite value, or none, for a row.",
        field=build_pointer(() if single else (row,)),
        limit="finite values",
        hint="Its features are far from those that the model was trained on.",
    )


def encode_errors(errors: Sequence[EngineError]) -> bytes:
    """The body of a refusal: the first error at the top, all of them in ``errors``."""
    faults = [{name: getattr(error, name) for name in _PARTS} for error in errors]
    return to_json({"error": {**faults[0], "errors": faults}})


def build_pointer(place: Sequence[int | str]) -> str:
    return "".join(f"/{part}" for part in ("features", *place))


def build_json_error(why: str) -> EngineError:
    """The error for a body that cannot be read."""
    return EngineError(
        "malformed_json",
        f"The body is not JSON: {why}.",
        limit='{"features": [...]}',
        hint="Send one JSON object as UTF-8.",
    )


def _build_features_error(document: Any, width: int) -> EngineError:
    if not isinstance(document, dict):
        message = f"The body is {describe_kind(document)}, not an object."
    elif "features" in document:
        message = f"features is {describe_kind(document['features'])}, not a list."
    else:
        message = "The body has no features."
    return EngineError(
        "features_missing",
        message,
        field="/features",
        limit=f"a list of {width} numbers, or a list of such lists",
        hint='Send {"features": [...]} for one row, or {"features": [[...], [...]]} for several.',
    )


def describe_kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def build_too_many_error(rows: int, max_rows: int) -> EngineError:
    """The error for more rows than one request may have."""
    return EngineError(
        "too_many_rows",
        f"The request has {rows} rows; one may have {max_rows}.",
        field="/features",
        limit=str(max_rows),
        hint="Send several requests, or start the service with a higher --max-rows.",
    )


def _iterate_faults(rows: Sequence[Any], width: int, single: bool) -> Iterator[EngineError]:
    """What is wrong with the rows, one after the other; of a row, its values are looked at if it has as many as a row
    of this model."""
    for index, row in enumerate(rows):
        place = () if single else (index,)
        if not isinstance(row, list):
            message = f"This row is {describe_kind(row)}, and the first is a list."
            hint = "Give every row as a list."
            yield EngineError("ragged_rows", message, field=build_pointer(place), limit="a list of numbers", hint=hint)
        elif len(row) != width:
            yield _build_width_error(index, len(row), width, single)
        else:
            try:
                ROW.validate_python(row)
            except ValidationError as error:
                for fault in error.errors(include_url=False):
                    yield _build_number_error(fault["input"], (*place, *fault["loc"]))


def _build_number_error(value: Any, place: Sequence[int | str]) -> EngineError:
    field = build_pointer(place)
    if type(value) is int:  # with more digits than a float64 has room for
        return _build_range_error(place)
    number = isinstance(value, float)  # one that JSON cannot hold, and many writers write
    fill = "Fill in missing values, as the training data were cleaned."
    return EngineError(
        "not_a_number",
        "The value is NaN or infinite." if number else f"The value is {describe_kind(value)}.",
        field=field,
        limit="a finite number",
        hint=fill if number or value is None else "Give every value as a number.",
    )


def _build_category_error(value: Any, place: Sequence[int | str]) -> EngineError:
    fraction = isinstance(value, float)
    return EngineError(
        "not_a_category",
        "The value is no whole number." if fraction else f"The value is {describe_kind(value)}.",
        field=build_pointer(place),
        limit="a text, a whole number, true, false or null",
        hint="GET /model lists the categories of each feature.",
    )


def _build_width_error(row: int, length: int, width: int, single: bool) -> EngineError:
    return EngineError(
        "wrong_width",
        f"The row has {length} values, the model takes {width}.",
        field=build_pointer(() if single else (row,)),
        limit=str(width),
        hint="GET /model lists the features in their order.",
    )


def _build_range_error(place: Sequence[int | str]) -> EngineError:
    return EngineError(
        "out_of_range",
        "The value is too large for a float32.",
        field=build_pointer(place),
        limit=f"{_LARGEST:g}",
        hint="Use the unit of the training data.",
    )


def predict_schema(predictor: Predictor) -> dict[str, Any]:
    """What OpenAPI says of POST /predict."""
    return build_prediction_schema(
        _list_of(predictor.inputs, VALUES if predictor.codes else "number"),
        _list_of(predictor.outputs),
        "One row of outputs, or a list of rows",
    )


def build_prediction_schema(
    request_schema: dict[str, Any], response_schema: dict[str, Any], answer: str
) -> dict[str, Any]:
    """What OpenAPI says of POST /predict, for features and predictions of these schemas."""
    parts = {name: {"type": ["string", "null"]} for name in _PARTS}
    part = {"type": "object", "properties": parts}
    error = {"type": "object", "properties": {**parts, "errors": {"type": "array", "items": part}}}
    refusals = {"400": "Not JSON", "413": "Too many rows or bytes", "422": "Features that do not fit the model"}
    return {
        "summary": "Predict",
        "operationId": "predict",
        "requestBody": {"required": True, "content": _build_content("features", request_schema)},
        "responses": {
            "200": {"description": answer, "content": _build_content("prediction", response_schema)},
            **{
                status: {"description": text, "content": _build_content("error", error)}
                for status, text in refusals.items()
            },
        },
    }


def _list_of(width: int, type_: str | list[str] = "number") -> dict[str, Any]:
    row = {"type": "array", "items": {"type": type_}, "minItems": width, "maxItems": width}
    return {"oneOf": [row, {"type": "array", "items": row}]}


def _build_content(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object", "required": [name], "properties": {name: schema}}}}

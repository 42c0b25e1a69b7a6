"""The body of a request to an image model: pixels as nested lists, or image files as base64."""

import base64
import binascii
from typing import Annotated, Any

import numpy as np
from pydantic import FailFast, TypeAdapter, ValidationError
from pydantic_core import from_json

from deepseek.job import EngineError
from deepseek.models.packages import is_installed
from deepseek.models.predictor_base import Predictor
from deepseek.serve.messages import (
    MOST_FAULTS,
    Floats,
    Number,
    build_json_error,
    build_pointer,
    build_too_many_error,
    describe_kind,
    predict_schema,
)

MOST_BODY_BYTES = 64 << 20
MOST_VALUES = 1 << 25
"""Numbers of all images of one request, which take 128 MB: some 200 images of 224 x 224 pixels."""
MOST_DECODED = 25_000_000
"""Pixels of a file; scaling that many takes a quarter of a second. Of a JPEG those count that are left at half its size
or less, where that is enough."""
IMAGE = TypeAdapter(Annotated[list[Annotated[list[Annotated[list[Number], FailFast()]], FailFast()]], FailFast()])


def require_pillow() -> None:
    """Load what decodes image files. Raises EngineError ``package_missing``."""
    if not is_installed("PIL"):
        raise EngineError(
            "package_missing",
            "A model of images needs the package Pillow.",
            field="inputs/model",
            value="PIL is not installed",
            limit="pillow 12 or later",
            hint="Install it: python -m pip install 'pillow>=12'",
        )
    from deepseek.images import decoding  # noqa: F401  here, and not when the first file arrives


def count_most_images(predictor: Predictor, max_rows: int) -> int:
    """Images that one request may have."""
    return max(1, min(max_rows, MOST_VALUES // predictor.inputs))


def read_images(body: bytes, *, shape: tuple[int, ...], max_rows: int) -> tuple[Floats, bool, list[EngineError]]:
    """The images in `body` as (n, 3, height, width) float32, whether it was one without a list around it, and all that
    is wrong with them (then there are no images)."""
    none: Floats = np.empty((0, *shape), np.float32)
    try:
        document = from_json(body)
    except ValueError as error:
        return none, False, [build_json_error(str(error))]
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list | str) or not features:
        return none, False, [_build_features_error(document, shape)]
    single = isinstance(features, str) or _measure_depth(features) == 3
    images = [features] if single else features
    if len(images) > max_rows:
        return none, False, [build_too_many_error(len(images), max_rows)]
    pixels, faults = np.empty((len(images), *shape), np.float32), list[EngineError]()
    for place, image in enumerate(images):
        try:
            pixels[place] = _read_image(image, shape, () if single else (place,))
        except EngineError as fault:
            faults.append(fault)
            if len(faults) == MOST_FAULTS:
                break
    return (none, single, faults) if faults else (pixels, single, [])


def build_image_schema(predictor: Predictor) -> dict[str, Any]:
    """What OpenAPI says of POST /predict of an image model."""
    schema = predict_schema(predictor)
    row = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 255}}
    for _ in predictor.shape[1:]:
        row = {"type": "array", "items": row}
    image = {"oneOf": [row, {"type": "string", "contentEncoding": "base64"}]}
    content = schema["requestBody"]["content"]["application/json"]["schema"]
    content["properties"] = {"features": {"oneOf": [*image["oneOf"], {"type": "array", "items": image}]}}
    return schema


def _measure_depth(value: Any) -> int:
    """How many lists lie in each other, along their first entries."""
    depth = 0
    while isinstance(value, list) and depth < 5:
        depth, value = depth + 1, value[0] if value else None
    return depth


def _read_image(image: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> Any:
    """One image, (3, height, width), of its pixels or its file. Raises EngineError."""
    field = build_pointer(place)
    if isinstance(image, str):
        return _decode_text(image, shape, field)
    try:
        values = IMAGE.validate_python(image)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = build_pointer((*place, *fault["loc"]))
        raise EngineError(
            "not_a_number",
            f"The value is {describe_kind(fault['input'])}.",
            field=where,
            limit="a finite number from 0 to 255",
            hint="Send channels of rows of pixels, or the image file as base64.",
        ) from error
    sizes = {len(row) for channel in values for row in channel}, {len(channel) for channel in values}
    if (len(values), *(next(iter(size)) if len(size) == 1 else -1 for size in reversed(sizes))) != shape:
        raise EngineError(
            "shape_mismatch",
            "The image has another shape than the model takes.",
            field=field,
            limit=" x ".join(map(str, shape)),
            hint="Scale it, or send the image file as base64: it is scaled here.",
        )
    pixels = np.array(values, np.float64)
    if pixels.min() < 0 or pixels.max() > 255:
        raise EngineError(
            "out_of_range",
            "The image has values beyond those of pixels.",
            field=field,
            limit="0 to 255",
            hint="Send pixels as they are; the model standardises them itself.",
        )
    return pixels


def _decode_text(text: str, shape: tuple[int, ...], field: str) -> Any:
    from deepseek.images.decoding import BrokenImage, decode_image  # Pillow: other families need none

    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return decode_image(base64.b64decode(data, validate=True), shape[1], shape[2], MOST_DECODED)
    except (binascii.Error, ValueError, BrokenImage) as error:
        raise EngineError(
            "image_broken",
            f"The image cannot be decoded: {error}.",
            field=field,
            limit="an image file of PNG, JPEG, GIF, BMP, WEBP or TIFF as base64",
            hint="Send the bytes of the file as base64, with or without data:image/png;base64, before them.",
        ) from error


def _build_features_error(document: Any, shape: tuple[int, ...]) -> EngineError:
    return EngineError(
        "features_missing",
        "The body has no images." if isinstance(document, dict) else f"The body is {describe_kind(document)}.",
        field="/features",
        limit=f"an image of {' x '.join(map(str, shape))} numbers, an image file as base64, or a list of these",
        hint='Send {"features": "..."} with the image file as base64.',
    )

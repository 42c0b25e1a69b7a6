"""``samples.json``: the held-out images that the model was most wrong about, as small pictures."""

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SAMPLES_NAME = "samples.json"
SAMPLES_TYPE = "application/vnd.plane.samples+json"
SCHEMA = "plane/samples/v1"
MOST_SAMPLES = 24
EDGE = 96  # pixels


def write_samples(
    path: Path,
    pixels: npt.NDArray[np.uint8],
    names: Sequence[str],
    target: npt.NDArray[np.int64],
    outputs: npt.NDArray[np.float32],
    classes: Sequence[str],
) -> int:
    """Write the misclassified ones of these images, those with the surest wrong answer first; returns how many."""
    guess = outputs.argmax(axis=1)
    wrong = np.flatnonzero(guess != target)
    order = wrong[np.argsort(-outputs[wrong, guess[wrong]], kind="stable")][:MOST_SAMPLES]
    samples = [
        {
            "image": encode_thumbnail(pixels[place]),
            "target": classes[target[place]],
            "prediction": classes[guess[place]],
            "share": round(float(outputs[place, guess[place]]), 6),
            "target_share": round(float(outputs[place, target[place]]), 6),
            "name": names[place],
        }
        for place in order
    ]
    document: dict[str, Any] = {"schema": SCHEMA, "kind": "image", "samples": samples}
    path.write_text(json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    return len(samples)


def encode_thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """The image (3, height, width) as a data address of a JPEG of at most 96 pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((EDGE, EDGE))
    out = BytesIO()
    image.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"

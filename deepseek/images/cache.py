"""Decoded images, each once: in memory up to a limit, else in a temporary file that is mapped."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.images.decoding import BrokenImage, decode_image

_CHUNK = 256  # images that are decoded between two reports


@dataclass(frozen=True)
class DecodedImages:
    """`pixels` (n, 3, height, width) uint8; what `broken` names (place -> why) is black. `digests`: of each file."""

    pixels: npt.NDArray[np.uint8]
    digests: list[str]
    broken: dict[int, str]


def decode_images(
    folder: Path,
    paths: Sequence[str],
    height: int,
    width: int,
    *,
    most_bytes: int,
    threads: int,
    advance: Callable[[int], None],
) -> DecodedImages:
    """Decode the files at `paths` below `folder`, by several threads: each image has a place of its own."""
    pixels = _allocate((len(paths), 3, height, width), most_bytes)
    digests, broken = [""] * len(paths), dict[int, str]()

    def decode(place: int) -> None:
        try:
            data = (folder / paths[place]).read_bytes()
            digests[place] = sha256(data).hexdigest()
            pixels[place] = decode_image(data, height, width)
        except (BrokenImage, OSError) as why:
            broken[place] = str(why)[:200]

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), _CHUNK):
            advance(start)
            list(pool.map(decode, range(start, min(start + _CHUNK, len(paths)))))
    return DecodedImages(pixels, digests, dict(sorted(broken.items())))


def _allocate(shape: tuple[int, ...], most_bytes: int) -> Any:
    """Zeros; beyond the limit in a file without a name, which ends with the process however that ends."""
    if np.prod(shape, dtype=np.int64) <= most_bytes:
        return np.zeros(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="images-") as file:
        file.truncate(int(np.prod(shape, dtype=np.int64)))
        return np.memmap(file, np.uint8, "r+", shape=shape)

"""One image file to the pixels of a network, with what a hostile or damaged file can do kept out."""

import struct
import warnings
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]  # (3, height, width)

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
MOST_PIXELS = 100_000_000
"""A larger image is no photograph but an attack, or needs to be tiled first: its pixels alone take 300 MB."""
MOST_BYTES = 512 << 20
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises for files that are damaged, by experience of each decoder."""


class BrokenImage(Exception):
    """Why a file is no image that can be learned from, as a few words."""


def decode_image(data: bytes, height: int, width: int, most_decoded: int = MOST_PIXELS) -> Pixels:
    """The image scaled to cover height x width, what juts out cut off evenly, as RGB of 0 to 255.

    `most_decoded`: pixels that may have to be decoded, which are fewer than those of a large JPEG. The first frame
    counts; a camera's orientation is applied. Raises BrokenImage for what cannot be decoded whole.
    """
    if len(data) > MOST_BYTES:
        raise BrokenImage(f"more than {MOST_BYTES >> 20} MB")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError("Pillow is set to take truncated images for whole ones")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                return _convert(image, height, width, most_decoded)
    except BrokenImage:
        raise
    except UnidentifiedImageError:  # its text names a place in memory
        raise BrokenImage(f"none of {', '.join(FORMATS)}") from None
    except _FAULTS as error:
        raise BrokenImage(str(error).partition("\n")[0][:200] or type(error).__name__) from error


def _convert(image: Image.Image, height: int, width: int, most_decoded: int) -> Pixels:
    if image.width * image.height > MOST_PIXELS:
        raise BrokenImage(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    image.draft("RGB", (2 * width, 2 * height))  # a JPEG is decoded at half its size or less where that is enough
    if image.width * image.height > most_decoded:
        raise BrokenImage(f"{image.width} x {image.height} pixels, more than {most_decoded:,}")
    image.load()
    turned = ImageOps.exif_transpose(image)
    fitted = ImageOps.fit(_to_rgb(turned), (width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(fitted, np.uint8).transpose(2, 0, 1))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Of 16 bits a channel the upper 8; what is transparent lies on white."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise BrokenImage("grey values beyond 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise BrokenImage("grey values as fractions")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")

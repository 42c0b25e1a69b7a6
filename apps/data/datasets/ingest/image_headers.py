"""Read an image's type, size and mode from the first and last bytes of its file, in pure Python, without decoding it.

Formats by their specifications: PNG (ISO/IEC 15948), JPEG (ITU-T T.81), GIF 89a, BMP, WebP (RFC 9649), TIFF 6.0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
MARKERS_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # markers of JPEG without a length
FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size in pixels, None if unknown; `mode` as in Pillow; `whole`: the end marker is present."""

    media_type: str
    width: int | None = None
    height: int | None = None
    mode: str = ""
    whole: bool = True


def read_image_header(head: bytes, tail: bytes) -> ImageHeader | None:
    """The header of the image that starts with `head`; None if it is not an image of a known format."""
    for magic, read in READERS:
        if head.startswith(magic):
            try:
                return read(head, tail)
            except (struct.error, IndexError):  # cut off within its header
                return read_media_type(head)
    return None


def read_media_type(head: bytes) -> ImageHeader | None:
    kind = next((kind for magic, kind in KINDS if head.startswith(magic)), None)
    return ImageHeader(kind, whole=False) if kind else None


def read_png(head: bytes, tail: bytes) -> ImageHeader | None:
    width, height, depth, colour = struct.unpack_from(">IIBB", head, 16)
    mode = "1" if (colour, depth) == (0, 1) else "I;16" if (colour, depth) == (0, 16) else PNG_MODES.get(colour, "")
    return ImageHeader("image/png", width, height, mode, tail.endswith(b"IEND\xaeB`\x82"))


def read_jpeg(head: bytes, tail: bytes) -> ImageHeader | None:
    is_complete = b"\xff\xd9" in tail  # cameras append a few bytes of their own
    at = 2
    while at + 4 <= len(head):
        if head[at] != 0xFF:
            break
        marker = head[at + 1]
        if marker == 0xFF or marker in MARKERS_WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in FRAME_MARKERS:
            height, width, parts = struct.unpack_from(">HHB", head, at + 5)
            return ImageHeader("image/jpeg", width, height, JPEG_MODES.get(parts, ""), is_complete)
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return ImageHeader("image/jpeg", whole=is_complete)


def read_gif(head: bytes, tail: bytes) -> ImageHeader | None:
    width, height = struct.unpack_from("<HH", head, 6)
    return ImageHeader("image/gif", width, height, "P", tail.rstrip(b"\0").endswith(b";"))


def read_bmp(head: bytes, tail: bytes) -> ImageHeader | None:
    size, length, width, height, _, bits = struct.unpack_from("<I8xIiiHH", head, 2)
    if length not in (40, 52, 56, 64, 108, 124) or bits not in (1, 4, 8, 16, 24, 32):
        return None
    mode = "P" if bits <= 8 else "RGBA" if bits == 32 else "RGB"
    return ImageHeader("image/bmp", abs(width), abs(height), mode, size == 0 or len(head) >= min(size, len(head)))


def read_webp(head: bytes, tail: bytes) -> ImageHeader | None:
    if head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        wide, high = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageHeader("image/webp", wide, high, "RGBA" if head[20] & 0x10 else "RGB")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return ImageHeader(
            "image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, "RGBA" if bits >> 28 & 1 else "RGB"
        )
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return ImageHeader("image/webp", width & 0x3FFF, height & 0x3FFF, "RGB")
    return ImageHeader("image/webp", whole=False)


def read_tiff(head: bytes, tail: bytes) -> ImageHeader | None:
    order = "<" if head[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", head, 4)[0]
    if start + 2 > len(head):  # the directory stands behind the pixels
        return ImageHeader("image/tiff")
    tags = {}
    for entry in range(struct.unpack_from(order + "H", head, start)[0]):
        tag, kind = struct.unpack_from(order + "HH", head, start + 2 + 12 * entry)
        tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), head, start + 10 + 12 * entry)[0]
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(tags.get(277, 1), "")
    return ImageHeader("image/tiff", tags.get(256), tags.get(257), mode)


READERS = (
    (b"\x89PNG\r\n\x1a\n", read_png),
    (b"\xff\xd8\xff", read_jpeg),
    (b"GIF87a", read_gif),
    (b"GIF89a", read_gif),
    (b"RIFF", read_webp),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"BM", read_bmp),
)
KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)

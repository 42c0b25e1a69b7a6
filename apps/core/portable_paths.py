"""Paths that mean the same to every client: to one on Windows, and to a person who reads them in a list. Pure."""

from __future__ import annotations

import re
import unicodedata

from deepseek.messages import Message

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, invisible and direction marks, surrogates, separators
PLAIN = re.compile(r"[\x20-\x5b\x5d-\x7e]*\Z")
DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{name}{digit}" for name in ("COM", "LPT") for digit in "0123456789¹²³"}
)
"""Names that Windows gives to a device, whatever follows the first dot"""


def find_path_defect(path: str) -> str:
    """What makes a path with forward slashes mean something else to some client, as the rest of a sentence, or ""."""
    if not PLAIN.match(path):
        if "\\" in path:
            return Message("has a backslash")
        if unseen := next((letter for letter in path if unicodedata.category(letter) in UNSEEN), ""):
            return Message("has the control or format character U+{ord:04X}", ord=ord(unseen))
    return find_windows_defect(path)


def find_windows_defect(path: str) -> str:
    """What Windows would make another name of, or ""."""
    for part in path.split("/"):
        if part.endswith((".", " ")):
            return Message("has a part that ends with a dot or a space, which Windows leaves out")
        name = part.partition(".")[0].rstrip(" ")
        if len(name) in (3, 4, 6, 7) and name.upper() in DEVICES:
            return Message("has the part {part!r}, which is a device on Windows", part=part[:40])
    return ""

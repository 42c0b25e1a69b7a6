"""Which files Git hands to LFS: the lines of .gitattributes that the plane writes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ATTRIBUTES = ".gitattributes"
KEPT = frozenset({ATTRIBUTES, ".gitignore", ".lfsconfig"})  # of Git itself, in any folder: no file of a version
LFS = "filter=lfs diff=lfs merge=lfs -text"
FROM_THE_START = ("*.csv", "*.parquet")
SUFFIX = re.compile(r"\.[A-Za-z0-9_-]+")
ESCAPES = str.maketrans({"[": "[[]", "]": "[]]", "*": "[*]", "?": "[?]", " ": "[[:space:]]"})


def is_kept(path: str) -> bool:
    return path.rpartition("/")[2] in KEPT


def pattern_for(path: str) -> str:
    """The pattern that `git lfs track` would be told: all files of this ending, or this one file."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    if dot > 0 and SUFFIX.fullmatch(name[dot:]):
        return f"*{name[dot:]}"
    return "/" + path.translate(ESCAPES)


def with_lines_for(kept: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """`kept` with a root .gitattributes that gives every one of these paths to LFS; what stands there stays."""
    text = kept.get(ATTRIBUTES, "")
    there = {words[0] for words in map(str.split, text.splitlines()) if "filter=lfs" in words[1:]}
    wanted = dict.fromkeys([*FROM_THE_START, *sorted({pattern_for(path) for path in paths})])
    lines = [f"{pattern} {LFS}\n" for pattern in wanted if pattern not in there]
    if lines and text and not text.endswith("\n"):
        text += "\n"
    return {**kept, ATTRIBUTES: text + "".join(lines)}

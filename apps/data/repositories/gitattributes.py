"""Which files Git hands to LFS: the lines of .gitattributes that the plane writes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ATTRIBUTES = ".gitattributes"
GIT_FILES = frozenset({ATTRIBUTES, ".gitignore", ".lfsconfig"})  # of Git itself, in any folder: no file of a version
LFS = "filter=lfs diff=lfs merge=lfs -text"
DEFAULT_PATTERNS = ("*.csv", "*.parquet")
SUFFIX = re.compile(r"\.[A-Za-z0-9_-]+")
ESCAPES = str.maketrans({"[": "[[]", "]": "[]]", "*": "[*]", "?": "[?]", " ": "[[:space:]]"})


def is_git_file(path: str) -> bool:
    return path.rpartition("/")[2] in GIT_FILES


def build_pattern(path: str) -> str:
    """The pattern that `git lfs track` would be told: all files of this ending, or this one file."""
    name = path.rpartition("/")[2]
    dot = name.rfind(".")
    if dot > 0 and SUFFIX.fullmatch(name[dot:]):
        return f"*{name[dot:]}"
    return "/" + path.translate(ESCAPES)


def add_lfs_lines(git_files: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """`git_files` with a root .gitattributes that gives each of these paths to LFS; what stands there stays."""
    text = git_files.get(ATTRIBUTES, "")
    existing = {words[0] for words in map(str.split, text.splitlines()) if "filter=lfs" in words[1:]}
    patterns = dict.fromkeys([*DEFAULT_PATTERNS, *sorted({build_pattern(path) for path in paths})])
    lines = [f"{pattern} {LFS}\n" for pattern in patterns if pattern not in existing]
    if lines and text and not text.endswith("\n"):
        text += "\n"
    return {**git_files, ATTRIBUTES: text + "".join(lines)}

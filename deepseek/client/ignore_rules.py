"""Rules for files that are left out, in the syntax of `.gitignore`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

ANY_DEPTH = "**"


@dataclass(frozen=True)
class IgnoreRule:
    """`parts`: a shell pattern for each part of the path; `**` stands for any number of parts."""

    parts: tuple[str, ...]
    is_negated: bool
    is_for_folders: bool


def parse_ignore_rules(text: str) -> list[IgnoreRule]:
    """The rules of a file; empty lines and comments are none."""
    return [rule for line in text.splitlines() if (rule := _parse_rule(line))]


def is_ignored(path: str, rules: Sequence[IgnoreRule]) -> bool:
    """Whether a file is left out, itself or with one of its folders. Of each the last rule that matches counts."""
    parts = path.split("/")
    return any(_is_left_out(parts[:count], rules, count < len(parts)) for count in range(1, len(parts) + 1))


def _is_left_out(path: Sequence[str], rules: Iterable[IgnoreRule], is_folder: bool) -> bool:
    ignored = False
    for rule in rules:
        if (is_folder or not rule.is_for_folders) and _matches(rule.parts, path):
            ignored = not rule.is_negated
    return ignored


def _matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == ANY_DEPTH:
        least = 0 if pattern[1:] else 1  # a/** is everything below a, and not a itself
        return any(_matches(pattern[1:], path[place:]) for place in range(least, len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(pattern[1:], path[1:])


def _parse_rule(line: str) -> IgnoreRule | None:
    glob = _strip_spaces(line.rstrip("\r"))
    if not glob or glob.startswith("#"):
        return None
    is_negated = glob.startswith("!")
    glob = glob.removeprefix("!")
    is_for_folders, glob = glob.endswith("/"), glob.rstrip("/")
    if not glob:
        return None
    # A slash at the beginning or in the middle binds the rule to the folder of the file; else it holds at any depth.
    parts = tuple(_unescape(part) for part in glob.removeprefix("/").split("/"))
    return IgnoreRule(parts if "/" in glob else (ANY_DEPTH, *parts), is_negated, is_for_folders)


def _strip_spaces(line: str) -> str:
    """Without the spaces at its end; one behind a backslash belongs to the name."""
    text = line.rstrip(" ")
    return f"{text} " if text.endswith("\\") and text != line else text


def _unescape(part: str) -> str:
    """What Git escapes by a backslash, as fnmatch takes it: in brackets."""
    text, rest = "", part
    while rest:
        before, backslash, rest = rest.partition("\\")
        text += before
        if backslash and rest:
            text, rest = f"{text}[{rest[0]}]", rest[1:]
    return text

"""`python -m tests.patterns`: refuse every regular expression of the product that a text can slow down beyond linear.

Part of `make check`. Exit code 1 names each pattern, what repeats, and how it is used.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.patterns.ambiguity import TooLarge, find_ambiguity
from tests.patterns.exempt import MADE_WHILE_RUNNING, STAYS
from tests.patterns.sources import Tree, Use, count_other_engines

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("apps", "controlplane", "workers", "deepseek")


def check(tree: Tree, made: Mapping[str, str], stays: Mapping[str, str]) -> tuple[list[str], int]:
    """(what is refused, a line each; how many patterns were read)"""
    refused: list[str] = []
    unread: set[str] = set()
    excused: set[str] = set()
    uses = list(tree.uses())
    for use in uses:
        if use.text is None:
            unread.add(use.key)
            if use.key not in made:
                refused.append(f"{use.path}:{use.line}: {use.name}: its text cannot be read: {use.why}")
        elif fault := fault_of(use):
            excused.add(use.key)
            if use.key not in stays:
                refused.append(f"{use.path}:{use.line}: {use.name}: {fault}")
    listed = [*sorted(set(made) - unread), *sorted(set(stays) - excused)]
    refused += [f"tests/patterns/exempt.py: {key} is excused, and needs no excuse" for key in listed]
    return refused, len(uses)


def fault_of(use: Use) -> str:
    for method in sorted(use.methods):
        try:
            found = find_ambiguity(use.text or "", use.flags, method)
        except (re.error, TooLarge, NotImplementedError) as error:
            return f"cannot be judged: {error}"
        if found:
            return f"{found.growth} time as {method} of a text that repeats {found.pump!r}: {use.text!r}"
    return ""


def main() -> int:
    tree = Tree(ROOT, FOLDERS)
    refused, read = check(tree, MADE_WHILE_RUNNING, STAYS)
    print(*refused, sep="\n", end="\n" if refused else "")
    print(f"{read} patterns read, {len(refused)} refused; {count_other_engines(tree)} more go to a linear engine.")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

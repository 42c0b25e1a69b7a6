"""The Chinese catalogue holds every text that the source marks, translated, compiled and with all its values."""

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils.translation.template import templatize

from controlplane.management.commands.makemessages import UNREAD, collect_spec_texts, list_keywords

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / "locale/zh_Hans/LC_MESSAGES/django.mo"
MESSAGES = {name: int(place or 1) - 1 for name, _, place in (keyword.partition(":") for keyword in list_keywords())}
PLACES = {  # function -> place of the context, of the text
    "_": (None, 0),
    "gettext": (None, 0),
    "gettext_lazy": (None, 0),
    "gettext_noop": (None, 0),
    "ngettext": (None, 0),
    "ngettext_lazy": (None, 0),
    "pgettext": (0, 1),
    "pgettext_lazy": (0, 1),
    "npgettext": (0, 1),
    **{name: (None, place) for name, place in MESSAGES.items()},
}
LITERAL = r"""u?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
CALL = re.compile(rf"\b({'|'.join(PLACES)})\(\s*{LITERAL}(?:\s*,\s*{LITERAL})?")
VALUES = re.compile(r"%\(\w+\)(?:\.\d+)?[a-z]|(?<!\{)\{\w+(?:![a-z])?(?::[^{}]+)?\}|%%|</?\w+>")
LEFT_OUT = {"{expected_plural}", "{field_type}"}  # of pydantic: an English s, and "List"


def marked_in_python(path: Path) -> Iterator[str]:
    """Keys as a compiled catalogue has them: a context stands before the text, with EOT between."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if name in MESSAGES:
            text = node.args[MESSAGES[name]] if len(node.args) > MESSAGES[name] else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value
        elif name in PLACES and all(isinstance(one, ast.Constant) for one in node.args[: PLACES[name][1] + 1]):
            yield keyed(name, [one.value for one in node.args if isinstance(one, ast.Constant)])


def marked_in_template(path: Path) -> Iterator[str]:
    for name, *literals in CALL.findall(templatize(path.read_text("utf-8"))):
        yield keyed(name, [ast.literal_eval(one) for one in literals if one])


def keyed(name: str, texts: list[str]) -> str:
    context, place = PLACES[name]
    return texts[place] if context is None else f"{texts[context]}\x04{texts[place]}"


@pytest.fixture(scope="module")
def marked() -> set[str]:
    found: set[str] = set()
    for folder in ("apps", "controlplane", "workers", "deepseek"):
        for path in (ROOT / folder).rglob("*.py"):
            if not path.relative_to(ROOT).as_posix().startswith(UNREAD):
                found.update(marked_in_python(path))
    for path in (ROOT / "templates").rglob("*.html"):
        found.update(marked_in_template(path))
    return (found | collect_spec_texts()) - {""}


@pytest.fixture(scope="module")
def catalogue() -> dict:
    with COMPILED.open("rb") as file:
        return gettext.GNUTranslations(file)._catalog


def test_the_source_is_read(marked: set[str]) -> None:
    assert len(marked) > 2000
    assert {"date format\x04j M", "Field required", "%(n)s column differs"} <= marked


def test_every_text_is_translated(marked: set[str], catalogue: dict) -> None:
    assert not sorted(text for text in marked if not (catalogue.get(text) or catalogue.get((text, 0))))


def test_values_and_marks_are_kept(catalogue: dict) -> None:
    of_one = {key: text for key, text in catalogue.items() if isinstance(key, str) and key}
    wrong = {key for key, text in of_one.items() if values(key) != values(text)}
    assert not wrong


def values(text: str) -> set[str]:
    return set(VALUES.findall(text)) - LEFT_OUT


def test_chinese_has_one_plural(catalogue: dict) -> None:
    assert {key[1] for key in catalogue if isinstance(key, tuple)} == {0}

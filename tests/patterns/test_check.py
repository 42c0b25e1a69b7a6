"""Patterns are found wherever they stand, put together from constants, and refused by how they are used."""

from __future__ import annotations

from textwrap import dedent

from tests.patterns.__main__ import check
from tests.patterns.sources import Tree

DIGITS = r'DIGITS = r"\d+\.?\d*"'
PLANTED = {
    "compiled, and matched whole": r'P = re.compile(r"\d+\.?\d*")' + "\nP.fullmatch(x)",
    "exponential": 're.match(r"(a+)+b", x)',
    "a search": r're.sub(r"\s+$", "", x)',
    "split": r're.split(r"\s*,", x)',
    "in an f-string": DIGITS + '\nP = re.compile(rf"-?{DIGITS}")\nP.fullmatch(x)',
    "a sum": DIGITS + '\nre.fullmatch(DIGITS + "x", x)',
    "joined": "P = re.compile('|'.join(['a*a*', 'b']))\nP.fullmatch(x)",
    "of another module": "from app.names import DIGITS\nre.fullmatch(DIGITS, x)",
    "of another pattern": r'P = re.compile(r"\d+")' + '\nQ = re.compile(P.pattern + r"\\d*x")\nQ.match(x)',
    "flags": 're.fullmatch(r"(?:a|Ab?)*", x, re.IGNORECASE)',
    "handed on": r'P = re.compile(r"\s+$")' + "\ncall(P)",
    "in a table": r'TABLE = (("x", re.compile(r"\s+$")),)',
    "a validator": r'V = RegexValidator(r"\s+x\Z")',
    "a serializer": r'f = serializers.RegexField(r"^\s*(\s*)x\Z")',
    "an address": 'urlpatterns = [re_path(r"^(a+)+/$", view)]',
    "a converter": 'class Slug:\n    regex = "(a|aa)+"',
    "a function by itself": "from re import compile",
    "under another name": "import re as expressions",
    "a lookup": r'Model.objects.filter(name__regex=r"\s+x\Z")',
    "a lookup in any case": r'Q(name__iregex=r"(?:a|Ab?)*\Z")',
    "made while running": "re.match(call(), x)",
}
ALLOWED = {
    "the same, as a match that succeeds": r'P = re.compile(r"\d+\.?\d*")' + "\nP.match(x)",
    "a match where a search would be refused": r're.match(r"\s+$", x)',
    "pydantic": 'name: str = Field(pattern="^(a+)+$")',
    "pyarrow": 'pc.match_substring_regex(column, "(a+)+$")',
}


def refused(tmp_path, text: str, made=(), stays=()) -> list[str]:
    folder = tmp_path / "app"
    folder.mkdir(exist_ok=True)
    (folder / "names.py").write_text(DIGITS)
    (folder / "planted.py").write_text("import re\n" + dedent(text))
    return check(Tree(tmp_path, ["app"]), dict.fromkeys(made, "why"), dict.fromkeys(stays, "why"))[0]


def test_every_planted_violation_is_refused(tmp_path) -> None:
    missed = [name for name, text in PLANTED.items() if len(refused(tmp_path, text)) != 1]
    assert missed == []


def test_what_is_linear_passes(tmp_path) -> None:
    assert {name: found for name, text in ALLOWED.items() if (found := refused(tmp_path, text))} == {}


def test_compiled_here_and_searched_elsewhere(tmp_path) -> None:
    assert refused(tmp_path, r'P = re.compile(r"\s+$")' + "\nP.match(x)") == []
    (tmp_path / "app" / "other.py").write_text("from app.planted import P\nP.search(x)")
    assert len(refused(tmp_path, r'P = re.compile(r"\s+$")' + "\nP.match(x)")) == 1


def test_an_excuse_holds_for_one_pattern_and_is_not_kept_without_need(tmp_path) -> None:
    text = r'P = re.compile(r"\s+$")' + "\nP.search(x)\nre.match(call(), y)"
    excuses = {"made": ["app/planted.py::line 4"], "stays": ["app/planted.py::P"]}
    assert refused(tmp_path, text, **excuses) == []
    assert len(refused(tmp_path, "P = 1", **excuses)) == 2

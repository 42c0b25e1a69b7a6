"""Templates read as source: indented as `make format` leaves them, and no line too long to review."""

from __future__ import annotations

from pathlib import Path

from djhtml.modes import DjHTML

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
MAX_LINE_LENGTH = 160


def list_wrong_lines(source: str) -> list[tuple[int, str]]:
    """Number (from 1) and fault of each line that is too long or not indented by its nesting."""
    lines = source.split("\n")
    indented = DjHTML(source).indent(2).split("\n")
    wrong = [(n, f"{len(line)} characters") for n, line in enumerate(lines, 1) if len(line) > MAX_LINE_LENGTH]
    wrong += [(n, "indentation") for n, pair in enumerate(zip(lines, indented, strict=True), 1) if pair[0] != pair[1]]
    return sorted(wrong)


def test_templates_are_indented_and_no_line_is_too_long() -> None:
    wrong = [
        f"{path.relative_to(TEMPLATES)}:{line}: {fault}"
        for path in sorted(TEMPLATES.rglob("*.html"))
        for line, fault in list_wrong_lines(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "break the line (docs/adr/0027-how-templates-are-laid-out.md), then `make format`"


def test_a_long_and_a_misplaced_line_are_found() -> None:
    long = "<p>" + "a" * 160
    assert list_wrong_lines(f"<div>\n<b></b>\n</div>\n{long}") == [(2, "indentation"), (4, "163 characters")]

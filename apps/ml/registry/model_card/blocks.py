"""A document of few kinds of blocks, written as Markdown or as one HTML file without script. Pure.

Everything that comes from the record is escaped: a name is text in both, never markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

Cell: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what stands for them."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Points:
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Code:
    text: str


Block: TypeAlias = Text | Facts | Table | Points | Code


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Document:
    title: str
    sentence: str
    sections: Sequence[Section]


# -- Markdown (CommonMark with tables) ------------------------------------------------------------------------------
MARKUP = re.compile(r"([\\`*_{}\[\]|~$])")
LINE_START = re.compile(r"^([^\S\n]*)([#+\-=]|\d+[.)])", re.MULTILINE)


def render_markdown(document: Document) -> str:
    parts = [f"# {escape_markdown(document.title)}", escape_markdown(document.sentence)]
    for section in document.sections:
        parts.append(f"## {escape_markdown(section.title)}")
        parts += [render_markdown_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_markdown_block(block: Block) -> str:
    match block:
        case Text(text):
            return escape_markdown(text)
        case Points(items):
            return "\n".join(f"- {escape_markdown_line(item)}" for item in items)
        case Facts(rows):
            return "\n".join(
                f"- **{escape_markdown_line(name)}**: {escape_markdown_line(value)}" for name, value in rows
            )
        case Table(head, rows, title):
            lines = [f"| {' | '.join(map(escape_markdown_line, head))} |", f"| {' | '.join('---' for _ in head)} |"]
            lines += [f"| {' | '.join(map(escape_markdown_line, row))} |" for row in rows]
            return "\n".join([*([f"**{escape_markdown_line(title)}**", ""] if title else []), *lines])
        case Code(text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}"


def escape_markdown(text: str) -> str:
    """Text that means nothing to Markdown, its line breaks kept."""
    return LINE_START.sub(r"\1\\\2", MARKUP.sub(r"\\\1", escape(text.strip(), quote=False)))


def escape_markdown_line(text: str) -> str:
    return escape_markdown(" ".join(text.split()))


# -- HTML -----------------------------------------------------------------------------------------------------------
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">{sentence}</p>
{body}
</main>
</body>
</html>
"""


def render_html(document: Document, style: str) -> str:
    """One file that stands alone: its style inside, no script, nothing fetched."""
    body = "\n".join(
        f"<section>\n<h2>{escape(section.title)}</h2>\n"
        + "\n".join(map(render_html_block, section.blocks))
        + "\n</section>"
        for section in document.sections
    )
    return PAGE.format(title=escape(document.title), sentence=escape(document.sentence), style=style, body=body)


def render_html_block(block: Block) -> str:
    match block:
        case Text(text):
            return "\n".join(f"<p>{escape(part)}</p>" for part in text.split("\n") if part.strip())
        case Points(items):
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
        case Facts(rows):
            items_html = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
            return f"<dl>{items_html}</dl>"
        case Table(head, rows, title):
            heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
            lines = "".join(
                f'<tr><th scope="row">{escape(row[0])}</th>'
                + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
                + "</tr>"
                for row in rows
            )
            caption = f"<caption>{escape(title)}</caption>" if title else ""
            table = f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
            return f'<div class="wide">{table}</div>'
        case Code(text):
            return f"<pre>{escape(text)}</pre>"

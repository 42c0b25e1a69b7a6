"""Render Markdown notes as safe HTML: CommonMark with tables, without raw HTML or images.

markdown-it escapes what looks like HTML and leaves out addresses with a scheme that runs script. Pictures would be
asked of other hosts; they are told by their text. No attribute of style is written: the policy of the pages has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

DEEPEST = 6
MAX_CHARACTERS = 20_000  # as long as MLflow's longest note; the parser's time grows with the square of some texts
UNDER = 2  # headings of a note stand below those of its card: # is an h3


@cache
def get_parser() -> MarkdownIt:
    markdown_parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False})
    return markdown_parser.enable(["table", "strikethrough"]).disable(["image"])


def render_markdown(text: str) -> SafeString:
    """Render the first MAX_CHARACTERS of the note as HTML."""
    tokens = get_parser().parse(text[:MAX_CHARACTERS])
    clean_tokens(tokens)
    return SafeString(get_parser().renderer.render(tokens, get_parser().options, {}))


def clean_tokens(tokens: Sequence[Token]) -> None:
    for token in tokens:
        token.attrs.pop("style", None)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(DEEPEST, int(token.tag[1:]) + UNDER)}"
        if token.type == "link_open":
            token.attrSet("rel", "nofollow noopener noreferrer")
        if token.children:
            clean_tokens(token.children)

"""Render a document of the manual as HTML, with links to the other topics and a table of its headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

from django.urls import reverse
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

from apps.web.help.topics import get_docs_dir, load_topics

LISTED_LEVEL = 2  # headings of this level are in the table of contents
NOT_IN_A_SLUG = re.compile(r"[^\w\- ]")
LOCAL_LINK = re.compile(r"(?:\./)?(?P<key>[\w-]+)\.md(?P<anchor>#[\w-]*)?\Z")


@dataclass(frozen=True, slots=True)
class Document:
    """A rendered document; `headings`: (id, text) of its sections."""

    html: SafeString
    headings: tuple[tuple[str, str], ...]


@cache
def get_parser() -> MarkdownIt:
    """CommonMark with tables; raw HTML is escaped and pictures are told by their text."""
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])


@lru_cache(maxsize=128)
def load_document(key: str) -> Document:
    """The document of a topic that there is. Cached: it changes only with the plane's own version."""
    tokens = get_parser().parse((get_docs_dir() / f"{load_topics()[key].key}.md").read_text("utf-8"))
    tokens = tokens[3:] if tokens and tokens[0].tag == "h1" else tokens  # the page has the title
    headings = add_heading_ids(tokens)
    for token in tokens:
        clean_token(token)
    html = get_parser().renderer.render(tokens, get_parser().options, {})
    return Document(SafeString(html), tuple(headings))


def add_heading_ids(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    """Give each heading the id that links to it use: its words in lower case, joined by hyphens."""
    headings, seen = [], Counter[str]()
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or ())
        slug = NOT_IN_A_SLUG.sub("", text.lower()).strip().replace(" ", "-")
        seen[slug] += 1
        slug = slug if seen[slug] == 1 else f"{slug}-{seen[slug] - 1}"
        token.attrSet("id", slug)
        if token.tag == f"h{LISTED_LEVEL}":
            headings.append((slug, text))
    return headings


def clean_token(token: Token) -> None:
    """Let links lead to topics, show pictures by their text, and leave out what the policy of the pages forbids."""
    token.attrs.pop("style", None)
    if token.type == "table_open":
        token.attrSet("class", "tbl")
        token.attrSet("tabindex", "0")  # it scrolls where it is too wide
    if token.type == "fence":
        token.info = ""
    for child in token.children or ():
        clean_token(child)
        if child.type == "link_open":
            child.attrSet("href", resolve_link(str(child.attrGet("href") or "")))
        elif child.type == "image":
            child.type, child.content, child.children = "text", child.content, None


def resolve_link(href: str) -> str:
    """The address of another topic for a link to its file; what lies outside of the manual leads to its index."""
    if href.startswith("#"):
        return href
    match = LOCAL_LINK.match(href)
    if match and match["key"] in load_topics():
        return reverse("help_topic", args=[match["key"]]) + (match["anchor"] or "")
    return reverse("help")

"""Pages without the line breaks of their templates, so that a test reads markup as a browser shows it."""

from __future__ import annotations

import re

from django.http import HttpResponse
from django.test import Client

BREAK = re.compile(r"\s*\n\s*")
LITERAL = r"<(?:pre|textarea|script|style)\b.*?</(?:pre|textarea|script|style)>"
TAG = re.compile(rf"({LITERAL})|(<[a-zA-Z/!](?:\"[^\"]*\"|'[^']*'|[^>\"'])*>)", re.DOTALL)
INLINE = re.compile(r"</?(a|abbr|b|button|code|em|i|input|kbd|label|output|progress|small|span|strong|svg|time)\b")


def drop_layout(html: str) -> str:
    """`html` without line breaks: one space beside a text or between two inline elements, else nothing."""
    parts: list[str] = []
    tag, position = "", 0
    for match in TAG.finditer(html):
        parts.append(_join_lines(html[position : match.start()], tag, match[0]))
        tag, position = match[0], match.end()
        parts.append(match[1] or BREAK.sub(" ", match[2]).replace(" >", ">"))
    return "".join([*parts, _join_lines(html[position:], tag, "")])


def _join_lines(text: str, before: str, after: str) -> str:
    left, right = INLINE.match(before), INLINE.match(after)
    if not text.strip():
        return text if "\n" not in text else " " if left and right else ""
    text = re.sub(r"^\s*\n\s*", " " if left and before.startswith("</") else "", text)
    text = re.sub(r"\s*\n\s*$", " " if right and not after.startswith("</") else "", text)
    return BREAK.sub(" ", text)


class PageClient(Client):
    """Django's test client, whose pages come without the layout of their templates."""

    def request(self, **request: object) -> HttpResponse:
        response = super().request(**request)
        if not response.streaming and response.get("Content-Type", "").startswith("text/html"):
            response.content = drop_layout(response.content.decode()).encode()
        return response

"""Chinese pages without the spaces between sentences: a full-width mark brings its own room.

Which sentences stand beside each other on a page depends on the state of its object, so each is a message of its own,
and the space that English needs between two of them is in no message that a translator could leave out. All other
spacing is in the catalogue: a message holds the whole phrase, with its brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import get_language

# Kept as they are: every tag with its attributes, whose values forms send, and what shows, sends or runs text as it
# was written.
ROOM = re.compile(
    r"(?P<kept><(?P<tag>pre|code|textarea|script|style|option)\b.*?</(?P=tag)>|<ol class=\"log\".*?</ol>|<[^>]*>)"
    r"|(?P<mark>[。，；：！？](?:</\w+>)*)[ \n]+(?=\S)",
    re.DOTALL,
)


def strip_spaces(html: str) -> str:
    """The page with no blank behind a full-width mark, but where text is kept."""
    return ROOM.sub(r"\g<kept>\g<mark>", html)


class ZhTypography:
    """Of pages and their parts. What programs get, a file and a stream stay as they are."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if is_page(request, response) and (get_language() or "").startswith("zh"):
            response.content = strip_spaces(response.content.decode(response.charset)).encode(response.charset)
        return response


def is_page(request: HttpRequest, response: HttpResponseBase) -> bool:
    if response.streaming or request.path.startswith("/api/") or "Content-Disposition" in response.headers:
        return False
    return response.headers.get("Content-Type", "").startswith("text/html")

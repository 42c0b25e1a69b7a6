"""Run by itself, in the home of a plane that is about to start: fills it with rows of everything, and prints as JSON
`pages` ([who, address] of every page that answers a GET) and `cookies` ({who: the key of a session}).
"""

from __future__ import annotations

import json

import django

django.setup()

from django.conf import settings  # noqa: E402  the settings come first

from tests import walking  # noqa: E402

ROWS = 6


def pages(plane, people) -> list[tuple[str, str]]:
    """Of each address the first one who may see it; JSON, a file or a part of a page is none."""
    found = []
    for route in walking.routes():
        if walking.left_out(route) or route.startswith("api/"):
            continue
        where = walking.address(route, plane)
        for visitor in people:
            answer = visitor.client.get(where)
            if answer.status_code in (200, 302, 405):
                break
        is_text = answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")
        if is_text and b"<html" in answer.content:
            found.append((visitor.name, where))
    return found


def main() -> None:
    settings.ALLOWED_HOSTS = ["*"]
    plane = walking.first_rows()
    walking.grow(plane, ROWS, wide=ROWS)
    people = walking.visitors()
    cookies = {who.name: who.client.cookies[settings.SESSION_COOKIE_NAME].value for who in people}
    print(json.dumps({"pages": pages(plane, people), "cookies": cookies}))


main()

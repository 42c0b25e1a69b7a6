"""`{{ session.user_agent|browser }}`: "Firefox 128, Linux" in place of the line that a browser sends about itself."""

from __future__ import annotations

import re

from django import template

register = template.Library()

# In this order: each sends the names of those below it too.
BROWSERS = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"OPR/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d{1,9})[.\d]* (?:Mobile/\w+ )?Safari/")),
    ("curl", re.compile(r"^curl/(\d+)")),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
MAX_LINE_LETTERS = 60  # of a line that says nothing we know


@register.filter
def browser(line: str) -> str:
    """Name and version, and the system it runs on; the line itself, cut, where it names no browser we know."""
    browser_name = next((f"{name} {match[1]}" for name, sign in BROWSERS if (match := sign.search(line))), "")
    system = next((word for sign, word in SYSTEMS if sign in line), "")
    return ", ".join(filter(None, (browser_name, system))) if browser_name else line[:MAX_LINE_LETTERS]

"""The lines of a log, written in one go: five hundred of them cost a loop, not a template. `{% load logs %}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from apps.web.templatetags.base_tags import state_class

register = template.Library()
QUIET = "queued"  # the class of a level that stands for no state


@register.simple_tag
def log_lines(lines: Iterable[Mapping[str, Any]], linked: str = "") -> SafeString:
    """`lines`: [{number, at, level, text}]; `linked`: the address that shows any line by ?line=, if there is one."""
    address = escape(linked)
    return mark_safe("".join(render_line(line, address) for line in lines))  # noqa: S308 - every text is escaped below


def render_line(line: Mapping[str, Any], address: str) -> str:
    number, level = int(line["number"]), str(line["level"]).lower()
    css = state_class(level)
    loud = css != QUIET
    mark = f"<b>{escape(level.upper())}</b> " if loud else ""
    name = f"{address}?line={number}" if address else ""
    line_class = css if loud else "debug" if level == "debug" else ""
    at = line.get("at")
    time = ""
    if at:
        local = timezone.localtime(at) if timezone.is_aware(at) else at
        time = f'<time datetime="{at.isoformat()}" data-when="time">{local:%H:%M:%S}</time>'
    return (
        f'<li id="L{number}" class="{line_class}"><a href="{name}#L{number}">{number}</a>{time}'
        f"<span>{mark}{escape(line['text'])}</span></li>"
    )

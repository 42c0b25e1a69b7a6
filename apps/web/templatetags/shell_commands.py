"""Render a command so that it breaks between words, not after an option's hyphen: `{% load shell_commands %}`."""

from __future__ import annotations

import re

from django import template
from django.utils.safestring import SafeString

from apps.core.html import format_html, format_html_join

register = template.Library()


@register.filter
def wrap_words(command: object) -> SafeString:
    """Each word in an element of its own, what stands between them as it is; the copy button has the text itself."""
    parts = re.split(r"(\s+)", str(command))  # the words at the even places, "" before and behind outer blanks
    words = [format_html("<span>{}</span>", word) if word else "" for word in parts[::2]]
    return format_html_join("", "{}{}", zip(words, [*parts[1::2], ""], strict=True))

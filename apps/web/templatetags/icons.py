"""Symbols of the sprite, and the button that copies."""

from __future__ import annotations

from functools import lru_cache

from django.templatetags.static import static
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from apps.core.html import format_html


def strip_safety(text: object) -> str:
    """A text that is escaped: for a cache, where one that is marked as safe would be equal to one that is not."""
    return str.__str__(str(text))


def icon(name: str, css: str = "") -> SafeString:
    """One symbol of the sprite, hidden from readers: a word or label always goes with it."""
    return draw_icon(strip_safety(name), strip_safety(f"i {css}".strip()))


@lru_cache(maxsize=512)
def draw_icon(name: str, css: str) -> SafeString:
    url = static("icons.svg")
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#i-{}"/></svg>', css, url, name)


def copy(text: object, label: str = "") -> SafeString:
    """A button that copies ``text``."""
    return format_html(
        '<button class="icon js-only" type="button" data-copy="{}" aria-label="{}">{}{}</button>',
        text,
        label or gettext("Copy"),
        icon("succeeded", "tick"),
        icon("copy"),
    )

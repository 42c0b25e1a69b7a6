"""Django's `translate` and `url`, which remember what they wrote: a list asks for the same words in each of 50 rows.

A page costs processor time in thousands of small nodes, none of which stands out. These two are a fifth of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.template.base import Parser, Token
from django.template.context import Context
from django.template.defaulttags import URLNode
from django.template.defaulttags import url as parse_url
from django.templatetags.i18n import TranslateNode
from django.templatetags.i18n import do_translate as parse_translate
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import conditional_escape
from django.utils.translation import get_language

MAX_CACHED_ADDRESSES = 8192  # some 2 MB: what a few people look at


class CachedTranslateNode(TranslateNode):
    """A literal without a filter: its text depends on the language alone."""

    def __init__(self, node: TranslateNode) -> None:
        super().__init__(node.filter_expression, node.noop, node.asvar, node.message_context)
        self.texts: dict[str | None, str] = {}

    def render(self, context: Context) -> str:
        language = get_language()
        text = self.texts.get(language)
        if text is None:
            text = super().render(context)
            text = self.texts[language] = context[self.asvar] if self.asvar else text
        if not self.asvar:
            return text
        context[self.asvar] = text
        return ""


def parse_cached_translate(parser: Parser, token: Token) -> TranslateNode:
    """`{% translate "text" %}`, as Django's."""
    node = parse_translate(parser, token)
    expression = node.filter_expression
    is_literal = expression.is_var and expression.var.lookups is None and not expression.filters
    return CachedTranslateNode(node) if is_literal and node.message_context is None else node


class CachedURLNode(URLNode):
    """An address by name: as long as the process lives, the same arguments give the same one."""

    def render(self, context: Context) -> str:
        args = tuple(arg.resolve(context) for arg in self.args)
        kwargs = tuple((key, value.resolve(context)) for key, value in self.kwargs.items())
        name = self.view_name.resolve(context)
        if not all(isinstance(value, str | int) for value in (*args, *(value for _, value in kwargs))):
            return super().render(context)
        try:
            address = find_address(get_script_prefix(), name, args, kwargs)
        except NoReverseMatch:
            if self.asvar is None:
                raise
            address = ""
        if self.asvar:
            context[self.asvar] = address
            return ""
        return conditional_escape(address) if context.autoescape else address


@lru_cache(maxsize=MAX_CACHED_ADDRESSES)
def find_address(prefix: str, name: str, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> str:
    """`reverse`, whose answer depends on these alone: no name here is of a namespace with several instances."""
    return reverse(name, args=args, kwargs=dict(kwargs))


@lru_cache(maxsize=512)
def find_first_address(prefix: str, names: tuple[str, ...], slug: str | None) -> str:
    """The address of the first name that has one, within the project when there is one; "" if none has."""
    for name in names:
        for args in ([[slug]] if slug else []) + [[]]:
            try:
                return reverse(name, args=args)
            except NoReverseMatch:
                continue
    return ""


def parse_cached_url(parser: Parser, token: Token) -> CachedURLNode:
    """`{% url "name" argument %}`, as Django's."""
    node = parse_url(parser, token)
    return CachedURLNode(node.view_name, node.args, node.kwargs, node.asvar)

"""`{% crumb %}…{% endcrumb %}`: the address of a page above its title. base_tags.py registers it.

A page says its parts as links and a last span; one that says nothing gets the parts of its address. A button to copy
the whole stands behind them in either case.
"""

from __future__ import annotations

from django import template
from django.http import HttpRequest
from django.template.base import NodeList, Parser, Token
from django.template.context import Context
from django.urls import Resolver404, resolve
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from apps.core.html import format_html, format_html_join
from apps.web.templatetags.icons import copy


class CrumbNode(template.Node):
    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: Context) -> SafeString:
        inside = self.nodelist.render(context).strip()
        request: HttpRequest | None = context.get("request")
        if not inside and request is not None:
            inside = render_path(request.path)
        if not inside:
            return SafeString("")
        button = copy(request.path, gettext("Copy address")) if request and "data-copy" not in inside else ""
        label = gettext("Address")
        return format_html('<nav class="crumb" aria-label="{}">{}{}</nav>', label, SafeString(inside), button)


def render_path(path: str) -> SafeString:
    """/account/tokens: every part that is an address of its own is a link, the last one is where we are."""
    names = [part for part in path.split("/") if part]
    above = [("/" + "/".join(names[: at + 1]), name) for at, name in enumerate(names[:-1])]
    linked = format_html_join(
        "", "{}", ((format_html('<a href="{}">{}</a>', where, name),) for where, name in above if is_page(where))
    )
    return format_html('{}<span aria-current="page">{}</span>', linked, names[-1] if names else gettext("home"))


def is_page(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def get_last_part(path: str) -> str:
    """/accounts/2fa/ -> 2fa; in the language of now where it is a word."""
    part = path.rstrip("/").rpartition("/")[2]
    return {"tokens": gettext("tokens"), "sessions": gettext("sessions"), "change": gettext("password")}.get(part, part)


def parse_crumb(parser: Parser, token: Token) -> CrumbNode:
    nodelist = parser.parse(("endcrumb",))
    parser.delete_first_token()
    return CrumbNode(nodelist)

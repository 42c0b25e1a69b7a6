"""`{% load error_help %}` `{% get_error_help as help %}`: what a page of an error offers (apps/web/error_help.py)."""

from __future__ import annotations

from django import template
from django.template.context import Context

from apps.web.error_help import ErrorHelp, build_help

register = template.Library()


@register.simple_tag(takes_context=True)
def get_error_help(context: Context) -> ErrorHelp:
    request = context.get("request")
    if request is None:
        return ErrorHelp()
    return build_help(request, int(context.get("status") or 500), str(context.get("field") or ""))

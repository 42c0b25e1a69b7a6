"""`{% load error_help %}` `{% trouble as help %}`: what a page of an error offers (apps/web/error_help.py)."""

from __future__ import annotations

from django import template
from django.template.context import Context

from apps.web.error_help import Help, help_for

register = template.Library()


@register.simple_tag(takes_context=True)
def trouble(context: Context) -> Help:
    request = context.get("request")
    if request is None:
        return Help()
    return help_for(request, int(context.get("status") or 500), str(context.get("field") or ""))

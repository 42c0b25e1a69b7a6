"""How a record of the trail shows what it says. `{% load audit_records %}`."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.platform.audit.models import AuditRecord, Result
from apps.platform.audit.naming.sentences import render_sentence
from apps.platform.audit.object_links import get_object_url
from apps.platform.audit.queries import Event
from apps.web.templatetags.formats import NONE

register = template.Library()
MAX_VALUE_LETTERS = 300  # characters of a value; the whole is in the export


@register.simple_tag(takes_context=True)
def get_record_url(context: Context, row: AuditRecord) -> str:
    """The page of the object of a record; `slugs` in the context maps the projects that the reader sees."""
    slug = (context.get("slugs") or {}).get(row.project_id, "")
    return get_object_url(row.object_type, row.object_id, slug)


@register.simple_tag(takes_context=True)
def sentence(context: Context, event: Event) -> SafeString | str:
    """What the record says, with its object as a link where the reader may follow it; "" for what was not done."""
    row = event.row
    if row.result != Result.DONE:
        return ""
    name = event.name or event.object
    url = get_record_url(context, row) if context.get("linked") else ""
    what = format_html('<a href="{}">{}</a>', url, name) if url else name
    return render_sentence(row.action, row.actor, what)


@register.filter
def format_audit_value(value: Any) -> str:
    """A value before or after: texts as they are, the rest as JSON, an absent one as a dash."""
    if value is None or value == "":
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LETTERS else f"{text[:MAX_VALUE_LETTERS]}…"

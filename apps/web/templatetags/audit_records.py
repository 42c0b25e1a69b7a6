"""How a record of the trail shows what it says. `{% load audit_records %}`."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.template.context import Context
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.platform.audit.models import AuditRecord, Result
from apps.platform.audit.naming.sentences import render_attempt, render_object, render_sentence
from apps.platform.audit.queries import Event
from apps.web.templatetags.base_tags import state_word
from apps.web.templatetags.formats import NONE

register = template.Library()
MAX_VALUE_LETTERS = 300  # characters of a value; the whole is in the export


@register.simple_tag(takes_context=True)
def get_record_url(context: Context, row: AuditRecord) -> str:
    """The page of the object of a record, where the reader may open it; `links` in the context knows."""
    links = context.get("links")
    return links.get_url(row.object_type, row.object_id, row.project_id) if links else ""


@register.simple_tag(takes_context=True)
def get_project_slug(context: Context, row: AuditRecord) -> str:
    """The project of a record, "" for none and for one that the reader does not see."""
    return str((context.get("slugs") or {}).get(row.project_id, ""))


@register.simple_tag(takes_context=True)
def sentence(context: Context, event: Event) -> SafeString | str:
    """What the record says, its object as a link: to its page where the reader may open it, else to its history."""
    row = event.row
    url = get_record_url(context, row) if context.get("linked") else ""
    if not url and context.get("linked") and not context.get("about") and row.object_type and row.object_id:
        url = reverse("audit:object", args=[row.object_type, row.object_id])
    what = render_object(row.object_type, row.object_id, event.name, url)
    if row.result != Result.DONE:
        return render_attempt(row.action, row.actor, what)
    state = (event.body.get("after") or {}).get("state", "")
    return render_sentence(row.action, row.actor, what, state=state_word(state) if state else "")


@register.filter
def format_audit_value(value: Any) -> str:
    """A value before or after: texts as they are, the rest as JSON, an absent one as a dash."""
    if value is None or value == "":
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LETTERS else f"{text[:MAX_VALUE_LETTERS]}…"

"""/help: the manual of this version, served by the plane itself."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import NotFound
from apps.web.help.rendering import load_document
from apps.web.help.topics import list_groups, load_topics
from deepseek.messages import N_


@require_safe
def show_index(request: HttpRequest) -> HttpResponse:
    """Every topic by its group."""
    return render(request, "help/index.html", {"nav": "", "groups": list_groups()})


@require_safe
def show_topic(request: HttpRequest, topic: str) -> HttpResponse:
    """One document."""
    entry = load_topics().get(topic)
    if entry is None:
        raise NotFound("The manual has no topic {topic!r}.", topic=topic[:60], field="topic", hint=N_("See the index."))
    context = {"nav": "", "topic": entry, "document": load_document(entry.key)}
    return render(request, "help/topic.html", context)

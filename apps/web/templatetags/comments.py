"""The comments below an object's page, whose app knows nothing of people's names: `{% load comments %}`."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.platform.comments import queries
from apps.platform.comments.mentions import split_mentions
from apps.platform.comments.services import MAX_TEXT_LENGTH
from apps.web.templatetags.object_links import get_actor

register = template.Library()
BEFORE = "comments_before"  # of the query


@register.inclusion_tag("comments/card.html", takes_context=True)
def comments_card(context: Context, object_type: str, object_id: object) -> dict[str, Any]:
    """The newest comments on an object that the page shows, the oldest of them first, and the form of a new one.

    `?comments_before=<id>` of the address shows those before that one. One query.
    """
    request, actor = context["request"], get_actor(context)
    project = request.project
    if not is_allowed(actor, "comment.view", project):
        return {"hidden": True}
    rows = queries.query_comments(actor, project, object_type, str(object_id)).order_by("-id")
    before = parse_int(request.GET.get(BEFORE), 1)
    comments = list((rows if before is None else rows.filter(pk__lt=before))[: queries.PAGE_SIZE + 1])
    has_older = len(comments) > queries.PAGE_SIZE
    older = request.GET.copy()
    older[BEFORE] = str(comments[queries.PAGE_SIZE - 1].pk) if has_older else ""
    entries = [
        {
            "comment": comment,
            "pieces": split_mentions(comment.text, comment.mentions.values()),
            "is_own": comment.author_id == actor.user_id and comment.deleted_at is None,
        }
        for comment in reversed(comments[: queries.PAGE_SIZE])
    ]
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "entries": entries,
        "older_url": f"?{older.urlencode()}#comments" if has_older else "",
        "is_older": before is not None,
        "page_size": queries.PAGE_SIZE,
        "may_write": is_allowed(actor, "comment.write", project) and actor.user_id is not None,
        "object_type": object_type,
        "object_id": str(object_id),
        "most": MAX_TEXT_LENGTH,
        "body": {"object_type": object_type, "object_id": str(object_id), "text": "@approver please look"},
    }

"""What the comments of a page post, and the names that are offered while somebody types."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.errors import Conflict, Invalid
from apps.core.messages import translate_error
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.bulk_actions import get_return_url
from apps.platform.comments import mentions, queries, services
from apps.platform.comments.objects import get_target


@require_POST
def add(request: HttpRequest, project: str) -> HttpResponse:
    """Add a comment and go back to the object; a text that is refused stays typed."""
    actor, where = get_project_context(request, project)
    policy.require(actor, "comment.write", where)
    object_type, object_id = request.POST.get("object_type", ""), request.POST.get("object_id", "")
    target = get_target(actor, where, object_type, object_id)
    text = request.POST.get("text", "")
    try:
        comment = services.add_comment(
            actor=actor, project=where, object_type=object_type, object_id=object_id, text=text
        )
    except (Conflict, Invalid) as error:
        context = {"target": target, "text": text, "wrong": error, "most": services.MAX_TEXT_LENGTH}
        return render(request, "comments/refused.html", context, status=error.status)
    return redirect(f"{target.path}#comment-{comment.pk}")


@require_POST
def change(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Replace the text of one's own comment, or with do=delete take it away."""
    actor, where = get_project_context(request, project)
    comment = queries.get_comment(actor, where, pk)
    policy.require(actor, "comment.write", comment)
    target = get_target(actor, where, comment.object_type, comment.object_id)
    text = request.POST.get("text", "")
    try:
        if request.POST.get("do") == "delete":
            services.delete_comment(actor=actor, comment=comment)
            messages.success(request, _("The comment is deleted."))
        else:
            services.edit_comment(actor=actor, comment=comment, text=text)
    except Invalid as error:
        context = {"target": target, "text": text, "wrong": error, "comment": comment}
        return render(
            request, "comments/refused.html", {**context, "most": services.MAX_TEXT_LENGTH}, status=error.status
        )
    except Conflict as error:
        messages.error(request, translate_error(error))
    return redirect(get_return_url(request, target.path) + f"#comment-{comment.pk}")


@require_safe
def suggest(request: HttpRequest, project: str) -> JsonResponse:
    """{people: [{username, name}]} whose names begin with ?q=."""
    actor, where = get_project_context(request, project)
    people = mentions.suggest_people(actor, where, request.GET.get("q", ""))
    answer = JsonResponse({"people": [{"username": person.username, "name": person.name} for person in people]})
    answer["Cache-Control"] = "no-store"
    return answer

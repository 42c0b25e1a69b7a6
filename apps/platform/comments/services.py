"""Every write of comments: added by members, edited and deleted by their author alone, each with its record."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.models import Project, User
from apps.platform.audit.services import record
from apps.platform.comments.mentions import find_mentioned
from apps.platform.comments.models import Comment
from apps.platform.comments.notices import notify_mentioned
from apps.platform.comments.objects import CommentTarget, get_target
from deepseek.messages import N_, Message

MAX_TEXT_LENGTH = 4000  # characters
MAX_COMMENTS = 1000  # on one object
MAX_RECORDED = 500  # characters of a text that the record shows; the digest is of all of it


def add_comment(*, actor: Actor, project: Project, object_type: str, object_id: str, text: str) -> Comment:
    """Say something about an object, and tell the people whom the text mentions.

    Raises Invalid for a text that is empty or too long, NotFound for an object that `actor` may not see.
    """
    policy.require(actor, "comment.write", project)
    if actor.user_id is None:
        raise Invalid("Only a person comments.", field="/user")
    target = get_target(actor, project, object_type, object_id)
    text = validate_text(text)
    people = find_mentioned(project, object_type, object_id, text)
    with transaction.atomic():
        # The author's row is the lock: somebody's script must not pass the limit with many calls at once.
        User.objects.select_for_update(no_key=True).get(pk=actor.user_id)
        beside = Comment.objects.filter(project=project, object_type=object_type, object_id=object_id)
        if beside.count() >= MAX_COMMENTS:
            raise Conflict(
                "There are {count} comments on it.",
                count=MAX_COMMENTS,
                code="too_many_comments",
                field="text",
                limit=MAX_COMMENTS,
                hint=N_("Write what is longer into its note or description."),
            )
        comment = Comment.objects.create(
            project=project,
            object_type=object_type,
            object_id=object_id,
            author_id=actor.user_id,
            author_label=actor.label,
            text=text,
            mentions={str(person.pk): person.username for person in people},
        )
        record(
            actor=actor,
            action="comment.add",
            obj=comment,
            after={"object_type": object_type, "object_id": object_id, "text": text[:MAX_RECORDED]},
            digests={"text": sha256_hex(text)},
        )
        notify(actor, comment, target, people)
    return comment


def edit_comment(*, actor: Actor, comment: Comment, text: str) -> Comment:
    """Replace the text of one's own comment. Whoever is mentioned for the first time is told; the same again changes
    nothing. Refused for another's, Conflict for a deleted one."""
    policy.require(actor, "comment.write", comment)
    require_own(actor, comment)
    text = validate_text(text)
    target = get_target(actor, comment.project, comment.object_type, comment.object_id)
    people = find_mentioned(comment.project, comment.object_type, comment.object_id, text)
    with transaction.atomic():
        locked = lock_comment(comment)
        if locked.text == text:
            return locked
        before = locked.text
        new_people = [person for person in people if str(person.pk) not in locked.mentions]
        locked.text, locked.edited_at = text, timezone.now()
        locked.mentions |= {str(person.pk): person.username for person in new_people}
        locked.save(update_fields=["text", "edited_at", "mentions"])
        record(
            actor=actor,
            action="comment.edit",
            obj=locked,
            before={"text": before[:MAX_RECORDED]},
            after={"text": text[:MAX_RECORDED]},
            digests={"before": sha256_hex(before), "text": sha256_hex(text)},
        )
        notify(actor, locked, target, new_people)
    return locked


def delete_comment(*, actor: Actor, comment: Comment) -> None:
    """Take the text of one's own comment away; that it was there, and its text in the audit trail, stays."""
    policy.require(actor, "comment.write", comment)
    require_own(actor, comment)
    with transaction.atomic():
        locked = lock_comment(comment)
        before = locked.text
        Comment.objects.filter(pk=locked.pk).update(text="", deleted_at=timezone.now())
        record(
            actor=actor,
            action="comment.delete",
            obj=locked,
            before={"text": before[:MAX_RECORDED]},
            digests={"before": sha256_hex(before)},
        )


# -- shared ---------------------------------------------------------------------------------------------------------
def require_own(actor: Actor, comment: Comment) -> None:
    if comment.author_id != actor.user_id:
        raise Refused(
            "The comment is by somebody else.",
            action="comment.write",
            code="not_yours",
            project_id=comment.project_id,
            object_type="comment",
            object_id=str(comment.pk),
        )


def lock_comment(comment: Comment) -> Comment:
    locked = Comment.objects.select_for_update(of=("self",)).select_related("project").get(pk=comment.pk)
    if locked.deleted_at is not None:
        raise Conflict("The comment is deleted.", code="comment_deleted", field="comment")
    return locked


def validate_text(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    has_nul = "\x00" in text  # inside the error xgettext would take it for an empty message
    if not text or len(text) > MAX_TEXT_LENGTH or has_nul:
        raise Invalid(
            Message("Write something.")
            if not text
            else Message("It holds a NUL.")
            if has_nul
            else Message("It has {count} characters.", count=len(text)),
            field="text",
            limit=f"1 to {MAX_TEXT_LENGTH} characters, no NUL",
        )
    return text


def notify(actor: Actor, comment: Comment, target: CommentTarget, people: Iterable[User]) -> None:
    recipients = {person.pk for person in people} - {actor.user_id or 0}
    if recipients:
        notify_mentioned(comment, target, actor.label, recipients)

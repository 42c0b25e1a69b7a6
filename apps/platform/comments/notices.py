"""Who is told of comments: whoever is mentioned in one and may see what it is about."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from apps.platform.comments.models import Comment
from apps.platform.comments.objects import CommentTarget
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

MENTIONED = "comment.mentioned"
KINDS = {
    MENTIONED: NoticeKind(
        label=_("Mentioned in a comment"),
        description=_("Somebody mentions you in a comment on a run, a version or an approval."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    )
}
MAX_TITLE = 120  # characters of the object's name in a notice


def notify_mentioned(comment: Comment, target: CommentTarget, author: str, recipients: set[int]) -> None:
    """In the transaction that saves the comment. The text is not in the notice: it may be edited or deleted."""
    message = Message("{who} mentions you in a comment on {title}", who=author, title=target.title[:MAX_TITLE])
    queue_notices(
        kind=MENTIONED,
        message=message,
        path=f"{target.path}#comment-{comment.pk}",
        recipients=recipients,
        subject=comment,
        project=comment.project,
    )

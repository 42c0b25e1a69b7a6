"""What pages and REST read of comments."""

from __future__ import annotations

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.accounts.models import Project
from apps.platform.comments.models import Comment, CommentQuerySet
from apps.platform.comments.objects import get_target

PAGE_SIZE = 50
MAX_ID = 2**63 - 1


def list_comments(actor: Actor, project: Project, object_type: str, object_id: str) -> CommentQuerySet:
    """The comments on one object, to be paged by `-id`. NotFound for an object that `actor` may not see."""
    policy.require(actor, "comment.view", project)
    get_target(actor, project, object_type, object_id)
    return query_comments(actor, project, object_type, object_id)


def query_comments(actor: Actor, project: Project, object_type: str, object_id: str) -> CommentQuerySet:
    """The comments on an object that has been read for `actor`."""
    policy.require(actor, "comment.view", project)
    return Comment.objects.visible_to(actor).filter(project=project, object_type=object_type, object_id=object_id)


def get_comment(actor: Actor, project: Project, pk: int) -> Comment:
    """One comment on an object that `actor` may see, or NotFound."""
    policy.require(actor, "comment.view", project)
    comments = Comment.objects.visible_to(actor).filter(project=project).select_related("project")
    comment = comments.filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if comment is None:
        raise NotFound("There is no such comment, or you may not see it.", field="comment")
    get_target(actor, project, comment.object_type, comment.object_id)
    return comment

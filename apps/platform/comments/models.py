"""What people say about an object of a project, for everybody who may see it."""

from __future__ import annotations

from django.db import models

from apps.core.actors import Actor, SystemRole
from apps.platform.accounts.models import Project, User


class CommentQuerySet(models.QuerySet["Comment"]):
    def visible_to(self, actor: Actor) -> CommentQuerySet:
        """Of the actor's projects; the auditor, at a browser, has those of all, as of approvals. Whether the actor may
        see the object too is asked with it: objects.get_target."""
        reads_all = actor.system_role is SystemRole.AUDITOR and actor.scopes is None
        return self if reads_all or actor.plane_role else self.filter(project_id__in=actor.project_ids)


class Comment(models.Model):
    """One comment. A deleted one keeps its row without its text, so that an answer to it can be understood.

    No foreign key to the object: comments lie below the apps whose objects they name.
    """

    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)
    object_type = models.CharField(max_length=40)  # a key of COMMENT_OBJECTS
    object_id = models.CharField(max_length=80)
    author = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    author_label = models.CharField(max_length=200)
    text = models.TextField(blank=True)  # plain text; @names in it are mentions
    mentions = models.JSONField(default=dict)  # {key, as text: user name} of the people who were told of it
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    objects = CommentQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["project", "object_type", "object_id", "id"], name="comment_of_object")]

    def __str__(self) -> str:
        return f"comment {self.pk} on {self.object_type} {self.object_id}"

    @property
    def html_id(self) -> str:
        """Of the field that edits it."""
        return f"comment-text-{self.pk}"

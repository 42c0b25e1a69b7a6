"""What a person keeps for themself: views of lists. Nobody else sees them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.platform.accounts.models import ONE_LINE, Project, User


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def visible_to(self, actor: Actor) -> SavedViewQuerySet:
        """One's own; through a token those of its project and of the plane's lists."""
        if actor.user_id is None:
            return self.none()
        own = self.filter(user_id=actor.user_id)
        if actor.scopes is None:
            return own
        return own.filter(Q(project__isnull=True) | Q(project_id__in=actor.project_ids))


class SavedView(models.Model):
    """The query of a list under a name. The default one opens where the address asks for nothing."""

    user = models.ForeignKey(User, models.CASCADE, related_name="saved_views", db_index=False)  # the constraints' own
    project = models.ForeignKey(Project, models.CASCADE, null=True, related_name="+")  # null: a list of the plane
    listing = models.CharField(max_length=40)  # Listing.key
    name = models.CharField(max_length=60, validators=[ONE_LINE])
    query = models.CharField(max_length=2000, blank=True)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        # In two parts: a null is equal to no other, so one constraint would not hold for the plane's own lists.
        constraints = [
            models.UniqueConstraint(fields=["user", "project", "listing", "name"], name="saved_view_name"),
            models.UniqueConstraint(
                fields=["user", "listing", "name"], condition=Q(project__isnull=True), name="saved_view_plane_name"
            ),
            models.UniqueConstraint(
                fields=["user", "project", "listing"], condition=Q(is_default=True), name="saved_view_default"
            ),
            models.UniqueConstraint(
                fields=["user", "listing"],
                condition=Q(is_default=True, project__isnull=True),
                name="saved_view_plane_default",
            ),
        ]

    def __str__(self) -> str:
        return self.name

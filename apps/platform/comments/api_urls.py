"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.platform.comments import api

urlpatterns = [
    path("comments", api.CommentsView.as_view(), name="api-comments"),
    path("comments/<int:pk>", api.CommentView.as_view(), name="api-comment"),
]

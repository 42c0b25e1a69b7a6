from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.comments.models import Comment
from apps.platform.comments.services import MAX_TEXT_LENGTH

TEXT = f"Plain text, 1 to {MAX_TEXT_LENGTH} characters; @name mentions a member of the project."


class CommentSerializer(serializers.ModelSerializer[Comment]):
    author = serializers.CharField(source="author_label", help_text="User name of whoever wrote it.")

    class Meta:
        model = Comment
        fields = ("id", "object_type", "object_id", "author", "text", "created_at", "edited_at", "deleted_at")


class NewCommentBody(serializers.Serializer[Any]):
    object_type = serializers.CharField(help_text="run, datasetversion, modelversion or approval.")
    object_id = serializers.CharField(help_text="Key of the object; of a run its id.")
    text = serializers.CharField(trim_whitespace=False, allow_blank=True, help_text=TEXT)


class CommentBody(serializers.Serializer[Any]):
    text = serializers.CharField(trim_whitespace=False, allow_blank=True, help_text=TEXT)

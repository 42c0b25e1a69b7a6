"""The bodies of the REST views of saved views."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.preferences.models import SavedView
from apps.platform.preferences.services import QUERY_LIMIT


class SavedViewSerializer(serializers.ModelSerializer[SavedView]):
    project = serializers.CharField(
        source="project.slug", read_only=True, allow_null=True, default=None, help_text="null: a list of the plane."
    )

    class Meta:
        model = SavedView
        fields = ["id", "listing", "project", "name", "query", "is_default", "created_at"]
        read_only_fields = fields


class NewSavedViewSerializer(serializers.Serializer[Any]):
    listing = serializers.CharField(max_length=40, help_text="The list: jobs, pipelines, runs, datasets, models, ...")
    project = serializers.CharField(
        max_length=50, required=False, allow_null=True, default=None, help_text="Slug; none for a list of the plane."
    )
    name = serializers.CharField(max_length=60, help_text="As the menu of views shows it.")
    query = serializers.CharField(
        max_length=QUERY_LIMIT + 200, allow_blank=True, default="", help_text="As in the address: state=failed&sort=..."
    )
    is_default = serializers.BooleanField(default=False, help_text="The list opens with it.")


class SavedViewChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60, required=False)
    query = serializers.CharField(max_length=QUERY_LIMIT + 200, required=False, allow_blank=True)
    is_default = serializers.BooleanField(required=False)

"""Personal data as programs read and mark it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.data.personal_data.categories import Category, LegalBasis
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.services import MAX_PURPOSE, MAX_REASON


class PersonalColumnSerializer(serializers.ModelSerializer[PersonalColumn]):
    project = serializers.CharField(source="dataset.project.slug", read_only=True)
    dataset = serializers.CharField(source="dataset.name", read_only=True)

    class Meta:
        model = PersonalColumn
        fields = [
            "id",
            "project",
            "dataset",
            "column",
            "category",
            "purpose",
            "legal_basis",
            "retain_until",
            "marked_by",
            "marked_at",
        ]
        read_only_fields = fields


class PersonalColumnBody(serializers.Serializer[Any]):
    dataset = serializers.CharField(max_length=50)
    column = serializers.CharField(max_length=200, trim_whitespace=False)
    category = serializers.ChoiceField(choices=Category.choices)
    purpose = serializers.CharField(max_length=MAX_PURPOSE)
    legal_basis = serializers.ChoiceField(choices=LegalBasis.choices)
    retain_until = serializers.DateField(help_text="The last day of use.")


class UnmarkBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)


class ColumnSuggestionSerializer(serializers.Serializer[Any]):
    column = serializers.CharField()
    category = serializers.ChoiceField(choices=Category.choices)
    cells = serializers.IntegerField(help_text="Previewed cells that look like it.")
    filled = serializers.IntegerField(help_text="Previewed cells that are not empty.")


class PlaneTableSerializer(serializers.Serializer[Any]):
    table = serializers.CharField()
    fields_listed = serializers.ListField(child=serializers.CharField(), source="fields")
    data = serializers.CharField()  # type: ignore[assignment]
    purpose = serializers.CharField()
    retention = serializers.CharField()

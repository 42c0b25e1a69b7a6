"""How the API shows packages, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.site.mirror.models import Package
from apps.site.mirror.queries import VersionDetails


class PackageSerializer(serializers.ModelSerializer[Package]):
    project = serializers.SlugRelatedField(
        slug_field="slug", read_only=True, allow_null=True, help_text="Whose it is; null: imported, the plane's."
    )

    class Meta:
        model = Package
        fields = [
            "name",
            "display_name",
            "summary",
            "latest_version",
            "version_count",
            "advisory_count",
            "project",
            "created_by",
            "created_at",
            "changed_at",
        ]
        read_only_fields = fields


class PackageFileSerializer(serializers.Serializer[Any]):
    filename = serializers.CharField()
    sha256 = serializers.CharField(source="artifact_id")
    size = serializers.IntegerField(source="artifact.size")
    requires_python = serializers.CharField()
    requires_dist = serializers.ListField(child=serializers.CharField())
    uploaded_by = serializers.CharField()
    uploaded_at = serializers.DateTimeField()


class AdvisorySerializer(serializers.Serializer[Any]):
    id = serializers.CharField(source="advisory_id")
    summary = serializers.CharField()
    severity = serializers.CharField()
    aliases = serializers.ListField(child=serializers.CharField())


class PackageVersionSerializer(serializers.Serializer[VersionDetails]):
    version = serializers.CharField(source="version.version")
    yanked_at = serializers.DateTimeField(source="version.yanked_at", allow_null=True)
    yanked_by = serializers.CharField(source="version.yanked_by")
    yank_reason = serializers.CharField(source="version.yank_reason")
    files = PackageFileSerializer(many=True)
    advisories = AdvisorySerializer(many=True)


class PackageDetailSerializer(PackageSerializer):
    versions = PackageVersionSerializer(many=True, read_only=True)
    dependents = serializers.ListField(child=serializers.CharField(), read_only=True)
    advisories_dated_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="The newest record of the feed; null: none was imported."
    )

    class Meta(PackageSerializer.Meta):
        fields = [*PackageSerializer.Meta.fields, "versions", "dependents", "advisories_dated_at"]
        read_only_fields = fields


class YankSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, help_text="Installers print it to whoever pins the version.")


class ImageTagSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField()
    tag = serializers.CharField()
    digest = serializers.SerializerMethodField(help_text="Of the manifest; pin it: REPOSITORY@sha256:...")
    architecture = serializers.CharField(source="image.architecture")
    size = serializers.IntegerField(source="image.size")
    tagged_by = serializers.CharField()
    tagged_at = serializers.DateTimeField()

    def get_digest(self, tag: Any) -> str:
        return f"sha256:{tag.image.manifest_digest}"

"""Serializers of datasets and versions."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.revisions import compute_revision
from apps.data.datasets.cards.services import read_texts
from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.queries import MAX_FILES_LISTED, PREVIEW_ROWS, RowPreview
from apps.data.datasets.versions.commits import clone_url
from apps.data.datasets.versions.manifest import MAX_FILES_PER_BODY
from deepseek.tables.csv_dialect import AUTO
from deepseek.tables.csv_faults import ENCODINGS


class DatasetSerializer(serializers.ModelSerializer[Dataset]):
    versions = serializers.IntegerField(source="versions_count", read_only=True, help_text="Number of the newest.")
    rows = serializers.IntegerField(read_only=True, allow_null=True, help_text="Of the newest version.")
    size = serializers.IntegerField(read_only=True, allow_null=True, help_text="Bytes of the newest version.")
    changed_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="When the newest was added.")

    keywords = serializers.ListField(source="keyword_list", child=serializers.CharField(), read_only=True)
    revision = serializers.SerializerMethodField(help_text="Of description, keywords and card; see PATCH.")
    clone_url = serializers.SerializerMethodField(help_text="What `git clone` takes; a token is the password.")

    def get_revision(self, dataset: Dataset) -> str:
        return compute_revision(read_texts(dataset))

    def get_clone_url(self, dataset: Dataset) -> str:
        """As this client reached the plane; relative where nobody asks by HTTP."""
        request = self.context.get("request")
        slug = request.parser_context["kwargs"]["project"] if request else dataset.project.slug
        return clone_url(request, slug, dataset.name)

    class Meta:
        model = Dataset
        fields = [
            "name",
            "description",
            "keywords",
            "card",
            "revision",
            "clone_url",
            "versions",
            "rows",
            "size",
            "changed_at",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class DatasetBody(serializers.Serializer[Dataset]):
    name = serializers.CharField(max_length=50, help_text="Lower-case letters, digits and hyphens.")
    description = serializers.CharField(max_length=500, default="", allow_blank=True)


class DatasetChangesBody(serializers.Serializer[Dataset]):
    """A part that is left out stays as it is."""

    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    keywords = serializers.ListField(child=serializers.CharField(max_length=200), required=False, max_length=100)
    card = serializers.CharField(required=False, allow_blank=True, help_text="Markdown; at most 20,000 characters.")
    revision = serializers.CharField(
        required=False, help_text="The one that was read: 409 `stale_state` where the texts have changed since."
    )


class ColumnSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    dtype = serializers.CharField(help_text="Arrow's name of the type; a guess for an upload.")


class FileSerializer(serializers.ModelSerializer[DatasetFile]):
    digest = serializers.CharField(source="artifact_id", help_text="SHA-256, 64 hex digits.")
    size = serializers.IntegerField(source="artifact.size", help_text="Bytes.")

    class Meta:
        model = DatasetFile
        fields = ["path", "digest", "size", "media_type", "rows"]
        read_only_fields = fields


class VersionSerializer(serializers.ModelSerializer[DatasetVersion]):
    dataset = serializers.CharField(source="dataset.name")
    columns = ColumnSerializer(many=True)
    job = serializers.IntegerField(source="job_id", allow_null=True, help_text="The job that made it.")
    quality = serializers.CharField(source="quality_id", allow_null=True, help_text="Digest of the quality report.")
    commit = serializers.CharField(allow_null=True, help_text="Of Git: it names the version, as its number does.")

    class Meta:
        model = DatasetVersion
        fields = [
            "id",
            "dataset",
            "number",
            "digest",
            "commit",
            "media_type",
            "rows",
            "size",
            "parts",
            "columns",
            "script",
            "params",
            "job",
            "quality",
            "note",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class VersionDetailSerializer(VersionSerializer):
    tags = serializers.SlugRelatedField(many=True, read_only=True, slug_field="name")
    files_count = serializers.IntegerField(source="counted", help_text="How many files it has.")
    files = FileSerializer(
        many=True,
        source="listed",
        help_text=f"The first {MAX_FILES_LISTED}, in the order of their paths; GET files for all.",
    )

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "tags", "files_count", "files"]
        read_only_fields = fields


class FileBody(serializers.Serializer[DatasetFile]):
    path = serializers.CharField(max_length=255, trim_whitespace=False)
    digest = serializers.RegexField(r"^[0-9a-f]{64}\Z", help_text="Of an artifact that the project holds.")
    media_type = serializers.CharField(max_length=120, default="", allow_blank=True)


class AddingBody(serializers.Serializer[Any]):
    """The query of a body that is a table other than CSV. The job that makes the version measures it in any case."""

    note = serializers.CharField(max_length=500, default="", allow_blank=True)
    measure = serializers.BooleanField(default=True, help_text="Queue a job that measures the version, if a table.")


class ReadingBody(AddingBody):
    """How a CSV file is to be read: fields of a JSON body, or the query of a CSV body."""

    delimiter = serializers.CharField(
        max_length=4,
        default=AUTO,
        trim_whitespace=False,
        help_text="One ASCII character, or auto: it is found in the file, and stands in `params` of the version.",
    )
    encoding = serializers.ChoiceField(choices=(AUTO, *ENCODINGS), default=AUTO, help_text="Found as the delimiter is.")


class VersionBody(ReadingBody):
    """Either one table by its digest, or files by path and digest, which are taken as they are.

    A CSV table is read through and checked, of others the first bytes are.
    """

    artifact = serializers.RegexField(r"^[0-9a-f]{64}\Z", required=False)
    files = serializers.ListField(child=FileBody(), required=False, min_length=1, max_length=MAX_FILES_PER_BODY)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("artifact" in attrs) == ("files" in attrs):
            raise serializers.ValidationError("Give either artifact or files.", code="artifact_or_files")
        return attrs


class ReasonQuery(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, help_text="Why it goes.")


class PreviewSerializer(serializers.Serializer[RowPreview]):
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField(child=serializers.CharField(allow_null=True)))
    note = serializers.CharField(help_text="Why there is nothing to show; else empty.")


class PreviewQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(min_value=1, max_value=PREVIEW_ROWS, default=PREVIEW_ROWS)

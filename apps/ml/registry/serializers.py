"""How the API shows models, their versions and aliases, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.core.revisions import compute_revision
from apps.ml.registry.models import Alias, AliasMove, Model, ModelVersion, Variant, VersionBlock
from apps.ml.registry.services.models import MAX_DESCRIPTION_LENGTH, read_texts
from apps.ml.registry.states import MoveKind

NO_DEADLINE = "As the project's policy says."


class FigureSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.FloatField()
    low = serializers.FloatField(allow_null=True, required=False, help_text="Where its interval begins.")
    high = serializers.FloatField(allow_null=True, required=False, help_text="Where its interval ends.")
    confidence = serializers.FloatField(
        allow_null=True, required=False, help_text="Of the interval, for instance 0.95."
    )
    method = serializers.CharField(required=False, allow_blank=True)
    better = serializers.CharField(help_text="higher or lower")
    unit = serializers.CharField(required=False, allow_blank=True)


class ModelSerializer(serializers.ModelSerializer[Model]):
    versions = serializers.IntegerField(source="versions_count", read_only=True, help_text="Number of the newest.")
    revision = serializers.SerializerMethodField(help_text="Of the description; see PATCH.")
    production = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="Number of the version that `production` points to."
    )
    production_metrics = FigureSerializer(many=True, allow_null=True, read_only=True)
    newest_metrics = FigureSerializer(many=True, allow_null=True, read_only=True)
    changed_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="When the newest was registered.")

    def get_revision(self, model: Model) -> str:
        return compute_revision(read_texts(model))

    class Meta:
        model = Model
        fields = [
            "name",
            "description",
            "revision",
            "versions",
            "production",
            "production_metrics",
            "newest_metrics",
            "changed_at",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class ModelChangesBody(serializers.Serializer[Model]):
    description = serializers.CharField(
        allow_blank=True,
        trim_whitespace=False,
        help_text=f"Markdown, which pages show as the card; at most {MAX_DESCRIPTION_LENGTH:,} characters.",
    )
    revision = serializers.CharField(
        required=False, help_text="The one that was read: 409 `stale_state` where the description has changed since."
    )


class ModelBody(serializers.Serializer[Model]):
    name = serializers.CharField(max_length=50, help_text="Lower-case letters, digits and hyphens.")
    description = serializers.CharField(max_length=500, default="", allow_blank=True)


class ModelVersionSerializer(serializers.ModelSerializer[ModelVersion]):
    model = serializers.CharField(source="model.name")
    aliases = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)
    metrics = FigureSerializer(many=True, help_text="Of the form that was trained, on held-out rows.")
    run = serializers.CharField(source="run_id", allow_null=True, help_text="The run that trained it.")
    job = serializers.IntegerField(source="job_id", allow_null=True, help_text="The job that registered it.")
    source = serializers.CharField(help_text="Where a client says its files are; empty: a job made it.")
    logged_model = serializers.CharField(source="logged_model_id", allow_null=True, help_text="That it was made of.")

    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "model",
            "number",
            "digest",
            "aliases",
            "task",
            "target",
            "metrics",
            "run",
            "job",
            "source",
            "logged_model",
            "description",
            "stage",
            "note",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class VariantSerializer(serializers.ModelSerializer[Variant]):
    digest = serializers.CharField(source="artifact_id", help_text="SHA-256 of the model file.")
    manifest = serializers.CharField(source="manifest_id", help_text="SHA-256 of model.json, which goes beside it.")
    parent = serializers.CharField(source="parent.name", default=None, help_text="The variant that it was made from.")
    heldout = serializers.CharField(help_text="Digest of the rows its figures are of; empty where it is not known.")
    job = serializers.IntegerField(source="job_id", allow_null=True, help_text="The job that made it.")
    figures = serializers.JSONField(help_text="plane/figures/v1")
    links = serializers.SerializerMethodField()

    class Meta:
        model = Variant
        fields = [
            "id",
            "name",
            "format",
            "file",
            "digest",
            "manifest",
            "size",
            "parent",
            "heldout",
            "machine",
            "job",
            "figures",
            "links",
        ]
        read_only_fields = fields

    def get_links(self, variant: Variant) -> dict[str, str]:
        slug = self.context["project"].slug
        digests = {"file": variant.artifact_id, "manifest": variant.manifest_id}
        return {name: reverse("api-artifact", args=[slug, digest]) for name, digest in digests.items()}


class SourceSerializer(serializers.Serializer[Any]):
    dataset = serializers.CharField()
    version = serializers.IntegerField()
    digest = serializers.CharField()


class ModelFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    sha256 = serializers.CharField(help_text="Of its bytes: GET .../artifacts/<digest>.")
    size = serializers.IntegerField(help_text="Bytes.")


class VersionBlockSerializer(serializers.ModelSerializer[VersionBlock]):
    class Meta:
        model = VersionBlock
        fields = ["reason", "blocked_by", "blocked_at"]
        read_only_fields = fields


class ModelVersionDetailSerializer(ModelVersionSerializer):
    block = VersionBlockSerializer(allow_null=True, help_text="Why it must not be used; null: it is not blocked.")
    features = serializers.JSONField(help_text="Names of the inputs, in their order.")
    classes = serializers.JSONField(help_text="Of a classification, in the order of the outputs.")
    signature = serializers.JSONField()
    architecture = serializers.JSONField()
    inputs = serializers.JSONField(help_text="Slot and digest of the bytes that it was trained on.")
    spec = serializers.JSONField(help_text="Of the training.")
    trained_on = SourceSerializer(many=True, help_text="The dataset versions that it was trained on.")
    variants = VariantSerializer(many=True, source="listed", help_text="The trained one first.")
    files = ModelFileSerializer(many=True, source="frozen", help_text="Of a version that a client made, by path.")
    links = serializers.JSONField()

    class Meta(ModelVersionSerializer.Meta):
        fields = [
            *ModelVersionSerializer.Meta.fields,
            "block",
            "features",
            "classes",
            "signature",
            "architecture",
            "inputs",
            "spec",
            "trained_on",
            "variants",
            "files",
            "links",
        ]
        read_only_fields = fields


class UnblockBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, help_text="Goes into the audit trail as written.")


class PromotionBody(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=2000, default="", allow_blank=True, help_text="For the approvers.")
    deadline_hours = serializers.IntegerField(required=False, default=None, allow_null=True, help_text=NO_DEADLINE)


class AliasSerializer(serializers.ModelSerializer[Alias]):
    alias = serializers.CharField(source="name")
    model = serializers.CharField(source="version.model.name")
    version = serializers.IntegerField(source="version.number")
    digest = serializers.CharField(source="version.digest")

    class Meta:
        model = Alias
        fields = ["alias", "model", "version", "digest"]
        read_only_fields = fields


class AliasBody(serializers.Serializer[Any]):
    version = serializers.IntegerField(min_value=1, max_value=999_999_999, help_text="Number of a version.")
    reason = serializers.CharField(max_length=2000, default="", allow_blank=True)


class RollbackBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, help_text="Goes into the audit trail as written.")


class AliasMoveSerializer(serializers.ModelSerializer[AliasMove]):
    kind = serializers.CharField(help_text=", ".join(MoveKind.values))
    from_version = serializers.IntegerField(source="from_version.number", default=None, help_text="Where it was.")
    to_version = serializers.IntegerField(source="to_version.number")
    approval = serializers.IntegerField(source="approval_id", allow_null=True, help_text="That let it stand there.")

    class Meta:
        model = AliasMove
        fields = ["alias", "kind", "from_version", "to_version", "approval", "reason", "by", "at"]
        read_only_fields = fields


class ModelDetailSerializer(ModelSerializer):
    aliases = AliasSerializer(many=True, source="listed", help_text="Where each points, by name.")
    moves = AliasMoveSerializer(many=True, source="history", help_text="The newest moves of its aliases.")

    class Meta(ModelSerializer.Meta):
        fields = [*ModelSerializer.Meta.fields, "aliases", "moves"]
        read_only_fields = fields


class ComparedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    better = serializers.CharField(help_text="higher or lower")
    unit = serializers.CharField()
    value = FigureSerializer(allow_null=True)
    other = FigureSerializer(allow_null=True)
    difference = serializers.FloatField(allow_null=True, help_text="This version's value minus the other's.")
    verdict = serializers.CharField(help_text="better or worse only where the intervals do not meet.")
    statement = serializers.CharField()


class PairSerializer(serializers.Serializer[Any]):
    variant = serializers.CharField(source="mine.name")
    other_variant = serializers.CharField(source="other.name")
    same_rows = serializers.BooleanField(allow_null=True, help_text="Measured on the same rows; null: not known.")
    metrics = ComparedSerializer(many=True)


class VersionComparisonSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    version = serializers.IntegerField()
    other = serializers.IntegerField(help_text="The version it is compared with.")
    variants = PairSerializer(many=True)

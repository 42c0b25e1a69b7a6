"""Bodies and answers of federation over REST."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.ml.federation.bundles import MAX_BUNDLE_BYTES
from apps.ml.federation.certificates import compute_fingerprint
from apps.ml.federation.models import LedgerEntry, RoundResult, Site, SiteStudy, Study

DOCUMENT_HELP = "A StudySpec. Its name and code_digest may be left out: the study's own, and the installed engine's."


class StudySiteSerializer(serializers.ModelSerializer[Site]):
    class Meta:
        model = Site
        fields = ("name", "state", "fingerprint", "public_key", "invited_by", "invited_at", "joined_at")


class RoundResultSerializer(serializers.ModelSerializer[RoundResult]):
    class Meta:
        model = RoundResult
        fields = ("number", "sites_count", "refused_count", "metrics", "epsilon", "recorded_at")


class StudySerializer(serializers.ModelSerializer[Study]):
    job = serializers.IntegerField(source="job_id", allow_null=True)

    class Meta:
        model = Study
        fields = (
            "id",
            "name",
            "state",
            "digest",
            "host",
            "port",
            "job",
            "created_by",
            "created_at",
            "started_at",
            "ended_at",
        )


class StudyDetailSerializer(StudySerializer):
    document = serializers.DictField()
    authority = serializers.SerializerMethodField(
        help_text="SHA-256 of the authority's certificate, which each site compares."
    )
    sites = StudySiteSerializer(many=True)
    result = serializers.DictField(help_text="federation.json, once the study is completed.")
    result_version = serializers.SerializerMethodField()

    class Meta(StudySerializer.Meta):
        fields = (*StudySerializer.Meta.fields, "document", "authority", "sites", "result", "result_version")

    def get_authority(self, study: Study) -> str:
        return compute_fingerprint(study.authority_certificate)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_result_version(self, study: Study) -> str | None:
        return str(study.result_version) if study.result_version else None


class SiteStudySerializer(serializers.ModelSerializer[SiteStudy]):
    data = serializers.SerializerMethodField(help_text="NAME:vN of the dataset version that it trains on.")
    approval = serializers.IntegerField(source="approval_id", allow_null=True)
    job = serializers.IntegerField(source="job_id", allow_null=True)
    is_certified = serializers.SerializerMethodField()

    class Meta:
        model = SiteStudy
        fields = (
            "id",
            "name",
            "site",
            "state",
            "digest",
            "host",
            "port",
            "coordinator",
            "data",
            "approval",
            "job",
            "is_certified",
            "imported_by",
            "imported_at",
            "ended_at",
        )

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_data(self, row: SiteStudy) -> str | None:
        return f"{row.data.dataset.name}:v{row.data.number}" if row.data else None

    def get_is_certified(self, row: SiteStudy) -> bool:
        return bool(row.certificate)


class SiteStudyDetailSerializer(SiteStudySerializer):
    document = serializers.DictField()
    authority = serializers.SerializerMethodField()
    result = serializers.DictField()

    class Meta(SiteStudySerializer.Meta):
        fields = (*SiteStudySerializer.Meta.fields, "document", "authority", "public_key", "result")

    def get_authority(self, row: SiteStudy) -> str:
        return compute_fingerprint(row.authority_certificate)


class EgressEntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    study = serializers.CharField(source="site_study.name")
    site = serializers.CharField(source="site_study.site")
    site_study = serializers.IntegerField(source="site_study_id")

    class Meta:
        model = LedgerEntry
        fields = (
            "entry_digest",
            "site_study",
            "study",
            "site",
            "round",
            "kind",
            "update_digest",
            "size",
            "norm",
            "max_abs",
            "epsilon",
            "reason",
            "at",
        )


class PlaneEgressEntrySerializer(EgressEntrySerializer):
    project = serializers.CharField(source="site_study.project.slug")

    class Meta(EgressEntrySerializer.Meta):
        fields = ("project", *EgressEntrySerializer.Meta.fields)


class StudyCodeSerializer(serializers.Serializer[Any]):
    files = serializers.DictField(child=serializers.CharField(), help_text="{file name: text}")


class BundleSerializer(serializers.Serializer[Any]):
    file = serializers.CharField(help_text="The text of the file, which is carried to the other plane unchanged.")


# -- bodies ---------------------------------------------------------------------------------------------------------
class NewStudyBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50)
    host = serializers.CharField(max_length=253, help_text="Where sites reach the server of the study.")
    port = serializers.IntegerField(help_text="1 to 65535")
    document = serializers.DictField(help_text=DOCUMENT_HELP)


class NewStudySiteBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50)


class StudyOptionsBody(serializers.Serializer[Any]):
    join_seconds = serializers.FloatField(required=False, help_text="How long to wait for the sites.")
    round_seconds = serializers.FloatField(required=False, help_text="After it a round goes on without late sites.")


class StudyReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class RegisterStudyBody(serializers.Serializer[Any]):
    model = serializers.CharField(max_length=256, help_text="Model that gets the version; created at need.")


class BundleBody(serializers.Serializer[Any]):
    file = serializers.CharField(
        max_length=MAX_BUNDLE_BYTES, trim_whitespace=False, help_text="The text of the file, as it was downloaded."
    )


class SiteDataBody(serializers.Serializer[Any]):
    data = serializers.CharField(max_length=300, help_text="NAME:vN of a dataset version.")


class SiteApprovalBody(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=1_000, required=False, default="", allow_blank=True)


class JoinStudyBody(serializers.Serializer[Any]):
    proxy = serializers.CharField(
        max_length=262, required=False, default="", allow_blank=True, help_text="HOST:PORT of the site's HTTP proxy."
    )

"""Releases and keys that go out."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.fleet.releases.models import Release, ReleaseFile, ReleaseKey


class ReleasedFileSerializer(serializers.ModelSerializer[ReleaseFile]):
    sha256 = serializers.CharField(source="artifact_id")

    class Meta:
        model = ReleaseFile
        fields = ("name", "size", "sha256")


class ReleaseLinks(serializers.Serializer[Any]):
    self = serializers.CharField()
    revoke = serializers.CharField()


class ReleaseSerializer(serializers.ModelSerializer[Release]):
    model = serializers.CharField(source="model_name")
    version = serializers.IntegerField(source="variant.version.number")
    variant = serializers.CharField(source="variant.name")
    digest = serializers.CharField(
        source="payload_digest", help_text="SHA-256 of the signed payload: what receipts and revocations name."
    )
    key = serializers.CharField(source="key.key_id", help_text="The key that signed it.")
    approval = serializers.IntegerField(source="approval_id")
    has_samples = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Release
        fields = (
            "id",
            "model",
            "version",
            "variant",
            "format",
            "architecture",
            "sequence",
            "digest",
            "key",
            "approval",
            "state",
            "has_samples",
            "created_by",
            "created_at",
            "revoked_at",
            "revocation_reason",
            "links",
        )

    def get_has_samples(self, release: Release) -> bool:
        return any(file.name == "samples.json" for file in release.files.all())

    @extend_schema_field(ReleaseLinks)
    def get_links(self, release: Release) -> dict[str, str]:
        args = [self.context["project"], release.pk]
        return {"self": reverse("api-release", args=args), "revoke": reverse("api-release-revoke", args=args)}


class EnvelopeSignature(serializers.Serializer[Any]):
    keyid = serializers.CharField()
    sig = serializers.CharField()


class EnvelopeSerializer(serializers.Serializer[Any]):
    payloadType = serializers.CharField()
    payload = serializers.CharField(help_text="Base64.")
    signatures = EnvelopeSignature(many=True)


class ReleaseDetailSerializer(ReleaseSerializer):
    files = ReleasedFileSerializer(many=True)
    envelope = serializers.SerializerMethodField(help_text="What devices verify: DSSE.")
    provenance = serializers.SerializerMethodField(
        help_text="How the variant was made, signed likewise; null in releases from before there was any."
    )

    class Meta(ReleaseSerializer.Meta):
        fields = (*ReleaseSerializer.Meta.fields, "files", "envelope", "provenance")

    @extend_schema_field(EnvelopeSerializer)
    def get_envelope(self, release: Release) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(release.envelope)
        return envelope

    @extend_schema_field(EnvelopeSerializer(allow_null=True))
    def get_provenance(self, release: Release) -> dict[str, Any] | None:
        return json.loads(release.provenance) if release.provenance else None


class ReleaseKeySerializer(serializers.ModelSerializer[ReleaseKey]):
    id = serializers.CharField(source="key_id")

    class Meta:
        model = ReleaseKey
        fields = ("id", "public_key", "state", "created_at", "revoked_at", "revocation_reason")


class ReleaseKeysSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="Of the newest list; 0: no key yet.")
    fingerprint = serializers.CharField(help_text="Of version 1, to compare on a device without a network.")
    lists = EnvelopeSerializer(many=True, help_text="Lists above `from`, oldest first, about 1 MB.")
    keys = ReleaseKeySerializer(many=True, help_text="A page of them, oldest first.")
    next = serializers.CharField(allow_null=True, help_text="Send it as `cursor` for the next keys.")

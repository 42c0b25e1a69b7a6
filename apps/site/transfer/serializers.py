"""How the API shows bundles and signers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.site.transfer.models import BundleSigner, IncomingBundle, OutgoingBundle


class BundleVolumeSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    name = serializers.CharField()
    size = serializers.IntegerField()


class OutgoingBundleSerializer(serializers.ModelSerializer[OutgoingBundle]):
    class Meta:
        model = OutgoingBundle
        fields = [
            "id",
            "bundle_id",
            "target_id",
            "target_name",
            "sequence",
            "contents",
            "volume_bytes",
            "state",
            "manifest_digest",
            "error",
            "progress",
            "retry_at",
            "created_by",
            "created_at",
            "built_at",
        ]
        read_only_fields = fields


class OutgoingDetailSerializer(OutgoingBundleSerializer):
    volumes = BundleVolumeSerializer(many=True, help_text="Files to download, once it is built.")

    class Meta(OutgoingBundleSerializer.Meta):
        fields = [*OutgoingBundleSerializer.Meta.fields, "volumes"]
        read_only_fields = fields


class IncomingBundleSerializer(serializers.ModelSerializer[IncomingBundle]):
    class Meta:
        model = IncomingBundle
        fields = [
            "id",
            "bundle_id",
            "source_id",
            "source_name",
            "sequence",
            "manifest_digest",
            "state",
            "scan",
            "error",
            "progress",
            "retry_at",
            "plane_contents",
            "accepted_by",
            "approval_id",
            "received_by",
            "received_at",
            "applied_at",
        ]
        read_only_fields = fields


class IncomingDetailSerializer(IncomingBundleSerializer):
    missing = serializers.ListField(child=serializers.IntegerField(), help_text="Volumes that have not come yet.")
    volumes = BundleVolumeSerializer(many=True)

    class Meta(IncomingBundleSerializer.Meta):
        fields = [*IncomingBundleSerializer.Meta.fields, "preview", "missing", "volumes"]
        read_only_fields = fields


class BundleSignerSerializer(serializers.ModelSerializer[BundleSigner]):
    class Meta:
        model = BundleSigner
        fields = [
            "id",
            "source_id",
            "source_name",
            "person",
            "key_id",
            "fingerprint",
            "state",
            "proposed_by",
            "proposed_at",
            "expires_at",
            "replaces",
            "revoke_reason",
        ]
        read_only_fields = fields


class ProposedSignerSerializer(BundleSignerSerializer):
    approval = serializers.IntegerField(help_text="Number of the request that the approvers decide.")

    class Meta(BundleSignerSerializer.Meta):
        fields = [*BundleSignerSerializer.Meta.fields, "approval"]
        read_only_fields = fields


class RequestedApplicationSerializer(serializers.Serializer[Any]):
    approval = serializers.IntegerField(help_text="Number of the request that the approvers decide.")

"""What agents are answered."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.fleet.devices.states import AssignmentState


class KeyListsSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="Of the newest list; 0: there is no key yet.")
    lists = serializers.ListField(child=serializers.JSONField(), help_text="DSSE envelopes, oldest first.")


class EnrolledSerializer(serializers.Serializer[Any]):
    device = serializers.CharField(help_text="What the plane calls the device.")
    project = serializers.CharField()
    token = serializers.CharField(help_text="The device's own, shown once.")
    poll_seconds = serializers.IntegerField()
    release_keys = KeyListsSerializer()


class OfferedFileSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    href = serializers.CharField(help_text="Its address on this plane.")


class OfferSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    action = serializers.ChoiceField(choices=["install", "cancel"])
    release = serializers.JSONField(help_text="DSSE envelope of the signed statement.")
    files = OfferedFileSerializer(many=True)
    deadline = serializers.CharField(allow_null=True, help_text="Without a receipt until then it has failed.")


class WantedObservationsSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()
    task = serializers.CharField()
    sampling_rate = serializers.FloatField()


class PollSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=["active", "quarantined"])
    poll_seconds = serializers.IntegerField()
    keys_version = serializers.IntegerField(help_text="Fetch the lists of keys when it is above the one that you have.")
    assignment = OfferSerializer(allow_null=True)
    observations = WantedObservationsSerializer(allow_null=True)


class StatusAnswerSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=AssignmentState.choices)


class ReceiptAnswerSerializer(serializers.Serializer[Any]):
    counter = serializers.IntegerField(help_text="Of the last receipt that counts.")


class HeartbeatAnswerSerializer(serializers.Serializer[Any]):
    now = serializers.CharField(help_text="The plane's time, ISO 8601.")

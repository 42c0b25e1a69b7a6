"""How the API shows approvals, and what it takes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.platform.accounts.models import HolderKind
from apps.platform.approvals import validation
from apps.platform.approvals.models import Approval, Remark, Vote
from apps.platform.approvals.terms import DEADLINE_HOURS_RANGE, NEEDED_RANGE


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    given = serializers.IntegerField(help_text="Votes for it that count now.")

    class Meta:
        model = Approval
        fields = [
            "id",
            "subject_type",
            "subject_id",
            "title",
            "state",
            "requester",
            "comment",
            "needed",
            "eligible",
            "given",
            "facts_digest",
            "deadline_at",
            "created_at",
            "decided_at",
        ]
        read_only_fields = fields
        extra_kwargs = {
            "needed": {"help_text": "Votes for it that decide."},
            "eligible": {"help_text": "People who could vote when it was asked for."},
            "facts_digest": {"help_text": "SHA-256 of the canonical JSON of the facts: send it with your vote."},
        }


class ApprovalVoteSerializer(serializers.ModelSerializer[Vote]):
    person = serializers.CharField(source="label")
    counts = serializers.BooleanField(help_text="False for a rejection, and once the person lost the role.")

    class Meta:
        model = Vote
        fields = ["person", "decision", "reason", "facts_digest", "method", "counts", "at"]
        read_only_fields = fields


class PersonBehindSerializer(serializers.Serializer[Any]):
    person = serializers.CharField()
    kind = serializers.ChoiceField(choices=HolderKind.values, help_text="What makes the person a requester.")


class ApprovalRemarkSerializer(serializers.ModelSerializer[Remark]):
    person = serializers.CharField(source="label")

    class Meta:
        model = Remark
        fields = ["person", "asks", "text", "at"]
        read_only_fields = fields
        extra_kwargs = {"asks": {"help_text": "A question of an approver; else an answer."}}


class FactChangeSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="JSON pointer into the facts.")

    was = serializers.JSONField(required=False, help_text="Absent where there was nothing.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`is` is a keyword of Python, so it cannot be declared above."""
        now = serializers.JSONField(required=False, help_text="Absent where there is nothing now.")
        return {**super().get_fields(), "is": now}


class ApprovalLinksSerializer(serializers.Serializer[Any]):
    self = serializers.CharField()
    page = serializers.CharField(help_text="For people.")
    subject = serializers.CharField(allow_blank=True, help_text="The page of what it is about.")


class ApprovalDetailSerializer(ApprovalSerializer):
    requester_people = PersonBehindSerializer(
        many=True, help_text="Where a service account asked: who is behind it. They cannot decide."
    )
    facts = serializers.JSONField(help_text="What is decided about, in the form of its subject type.")
    votes = ApprovalVoteSerializer(many=True)
    remarks = ApprovalRemarkSerializer(many=True, help_text="Questions and answers, in order.")
    changes = FactChangeSerializer(
        many=True, help_text="Of a pending one: what is no longer as it was asked for. Approving would void it."
    )
    void_changes = FactChangeSerializer(many=True, help_text="Of a void one: the facts that had changed.")
    waits_for_me = serializers.BooleanField(help_text="Whether the caller may vote on it and has not.")
    links = ApprovalLinksSerializer()

    class Meta(ApprovalSerializer.Meta):
        fields = [
            *ApprovalSerializer.Meta.fields,
            "requester_people",
            "facts",
            "votes",
            "remarks",
            "changes",
            "void_changes",
            "waits_for_me",
            "links",
        ]
        read_only_fields = fields


class ApprovalReasonBody(serializers.Serializer[Any]):
    reason = serializers.CharField(
        max_length=validation.MAX_REASON_LENGTH, help_text="Goes into the audit trail as written."
    )


class ApprovalAskBody(ApprovalReasonBody):
    facts_digest = serializers.CharField(max_length=64, help_text="Of the facts that you saw.")


class ApprovalAnswerBody(serializers.Serializer[Any]):
    text = serializers.CharField(
        max_length=validation.MAX_REASON_LENGTH, help_text="Goes into the audit trail as written."
    )


class ApprovalVoteBody(ApprovalAskBody):
    password = serializers.CharField(
        max_length=1000,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
        help_text="By session: the person's password, again. By token: left out, the token is the proof.",
    )
    code = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        allow_blank=True,
        help_text="By session, of a person with a second factor: its code.",
    )


class ApprovalPolicyBody(serializers.Serializer[Any]):
    needed = serializers.IntegerField(
        min_value=NEEDED_RANGE[0], max_value=NEEDED_RANGE[1], help_text="Votes for it that decide, of different people."
    )
    deadline_hours = serializers.IntegerField(
        min_value=DEADLINE_HOURS_RANGE[0],
        max_value=DEADLINE_HOURS_RANGE[1],
        help_text="Hours until a request expires, at most.",
    )
    reason = serializers.CharField(
        max_length=validation.MAX_REASON_LENGTH, required=False, default="", allow_blank=True
    )


class ApprovalPolicySerializer(serializers.Serializer[Any]):
    subject_type = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF's Field has an attribute of this name
    needed = serializers.IntegerField()
    deadline_hours = serializers.IntegerField()
    is_default = serializers.BooleanField(help_text="Nobody has set it for this project.")


class ApprovalPoliciesSerializer(serializers.Serializer[Any]):
    items = ApprovalPolicySerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="Always null: the list is whole.")

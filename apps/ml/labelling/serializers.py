"""How the API shows connections, schemas, labelling projects and tasks, and what it takes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.ml.labelling.models import LabellingProject, LabelSchemaVersion, LabelServer, LabelTask
from apps.ml.labelling.states import TaskOrder

VERSION_HELP = "NAME:vN"
MARKS_HELP = '{"spans": [{"start", "end", "label"}], "relations": [{"source", "target", "type"}], "class", "fields"}'


class LabelServerSerializer(serializers.ModelSerializer[LabelServer]):
    """The token is never document."""

    failure = serializers.SerializerMethodField(help_text="Why the last check failed; empty: it did not.")

    class Meta:
        model = LabelServer
        fields = ["name", "url", "state", "version", "failure", "checked_at", "created_by", "created_at"]
        read_only_fields = fields

    def get_failure(self, server: LabelServer) -> str:
        return str(server.failure.get("message", ""))


class LabelSchemaVersionSerializer(serializers.ModelSerializer[LabelSchemaVersion]):
    name = serializers.CharField(source="schema.name")
    version = serializers.IntegerField(source="number")

    class Meta:
        model = LabelSchemaVersion
        fields = ["name", "version", "level", "digest", "document", "config", "created_by", "created_at"]
        read_only_fields = fields


class LabellingProjectSerializer(serializers.ModelSerializer[LabellingProject]):
    server = serializers.CharField(source="server.name")
    schema = serializers.CharField(help_text=VERSION_HELP)
    level = serializers.CharField(source="schema.level")
    source = serializers.CharField()
    parent = serializers.CharField(source="parent.name", default=None, allow_null=True)
    result = serializers.SerializerMethodField(help_text="NAME:vN of the newest result.")
    failure = serializers.SerializerMethodField(help_text="What a person has to know; empty: nothing.")

    class Meta:
        model = LabellingProject
        fields = [
            "id",
            "name",
            "state",
            "server",
            "schema",
            "level",
            "source",
            "source_file",
            "parent",
            "order",
            "overlap",
            "bar",
            "tasks_count",
            "progress",
            "agreement_value",
            "measured_at",
            "result",
            "result_at",
            "failure",
            "next_at",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields

    def get_result(self, labelling: LabellingProject) -> str | None:
        version = labelling.result
        return f"{version.dataset.name}:v{version.number}" if version else None

    def get_failure(self, labelling: LabellingProject) -> str:
        return str(labelling.failure.get("message", ""))

    def to_representation(self, labelling: LabellingProject) -> dict[str, Any]:
        document = super().to_representation(labelling)
        document["schema"] = f"{labelling.schema.schema.name}:v{labelling.schema.number}"
        document["source"] = f"{labelling.source.dataset.name}:v{labelling.source.number}"
        return document


class LabellingDetailSerializer(LabellingProjectSerializer):
    agreement = serializers.JSONField(help_text="By label, pair and annotator; annotators by pseudonym.")

    class Meta(LabellingProjectSerializer.Meta):
        fields = [*LabellingProjectSerializer.Meta.fields, "agreement"]
        read_only_fields = fields


class LabelTaskSerializer(serializers.ModelSerializer[LabelTask]):
    number = serializers.SerializerMethodField(help_text="From 1, in the order that annotators meet them.")

    class Meta:
        model = LabelTask
        fields = ["number", "row", "data", "state", "marks", "gold", "violations", "decided_by", "decided_at"]
        read_only_fields = fields

    def get_number(self, task: LabelTask) -> int:
        return task.number + 1


class TaskMarksSerializer(serializers.Serializer[Any]):
    """What one annotator marked."""

    annotator = serializers.CharField(help_text="By pseudonym.")
    group = serializers.CharField()
    marks = serializers.JSONField(help_text=MARKS_HELP)
    skipped = serializers.BooleanField()
    seconds = serializers.FloatField()
    updated_at = serializers.DateTimeField()


class LabelTaskDetailSerializer(LabelTaskSerializer):
    annotations = serializers.SerializerMethodField()

    class Meta(LabelTaskSerializer.Meta):
        fields = [*LabelTaskSerializer.Meta.fields, "annotations"]
        read_only_fields = fields

    @extend_schema_field(TaskMarksSerializer(many=True))
    def get_annotations(self, task: LabelTask) -> list[dict[str, Any]]:
        rows = self.context["annotations"]
        return [
            {
                "annotator": row.annotator.pseudonym,
                "group": row.group.name,
                "marks": row.marks,
                "skipped": row.is_skipped,
                "seconds": row.seconds,
                "updated_at": row.updated_at,
            }
            for row in rows
        ]


# -- bodies ---------------------------------------------------------------------------------------------------------
class NewServerBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50, help_text="Unique in the project.")
    url = serializers.CharField(max_length=500, help_text="http(s)://host[:port], of a host in LABELLING_HOSTS.")
    token = serializers.CharField(
        max_length=2000, help_text="Access token or personal access token of Label Studio; never document again."
    )


class ServerBody(serializers.Serializer[Any]):
    url = serializers.CharField(max_length=500, required=False, help_text="Left out: as before.")
    token = serializers.CharField(max_length=2000, required=False, help_text="Left out: as before.")


class NewSchemaBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50, help_text="Another document under the same name is the next version.")
    document = serializers.JSONField(required=False, help_text="Level, data, labels, relations, fields and rules.")
    config = serializers.CharField(
        required=False, max_length=200_000, help_text="Instead: a labelling interface of Label Studio (XML)."
    )


class NewLabellingBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=50, help_text="Unique in the project.")
    server = serializers.CharField(max_length=50, help_text="A connection.")
    schema = serializers.CharField(max_length=70, help_text=VERSION_HELP)
    source = serializers.CharField(max_length=70, required=False, help_text="NAME:vN of a dataset; not with parent.")
    source_file = serializers.CharField(max_length=255, required=False, help_text="Where the version has several.")
    text_column = serializers.CharField(max_length=120, required=False, help_text="Of the file; default text.")
    parent = serializers.CharField(
        max_length=50, required=False, help_text="Labelling project of the level before: its agreed tasks go on."
    )
    prelabels = serializers.CharField(max_length=300, required=False, help_text="MODEL:vN that pre-labels the tasks.")
    order = serializers.ChoiceField(TaskOrder.choices, required=False)
    groups = serializers.ListField(
        child=serializers.CharField(max_length=60),
        required=False,
        max_length=5,
        help_text="Names of groups of annotators; one group does not see what another marks.",
    )
    overlap = serializers.FloatField(required=False, help_text="Share of the tasks that every group marks, 0 to 1.")
    bar = serializers.FloatField(required=False, help_text="Agreement (Krippendorff's alpha) that a result needs.")


class CloseLabellingBody(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class BarBody(serializers.Serializer[Any]):
    bar = serializers.FloatField(help_text="Agreement that a result needs, 0 to 1; 0: none.")


class ResultBody(serializers.Serializer[Any]):
    dataset = serializers.CharField(max_length=50, help_text="Dataset that gets the version; created at need.")


class AdjudicateBody(serializers.Serializer[Any]):
    marks = serializers.JSONField(help_text=MARKS_HELP)
    note = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class GoldBody(serializers.Serializer[Any]):
    marks = serializers.JSONField(allow_null=True, help_text="null: the task is gold no longer.")

"""Labelling on an external Label Studio: connections, schemas, projects, tasks, and what annotators marked in them.

A labelling project is one project of Label Studio for each group of annotators, so that no group sees the marks of
another. The rows here are the truth about which task went where; the marks are copies that a reconciliation renews.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.encryption.fields import EncryptedTextField
from apps.data.datasets.models import DatasetVersion
from apps.ml.labelling.states import LABELLING_MOVES, LabellingState, ServerState, TaskOrder, TaskState
from apps.ml.labelling.tokens import PURPOSE
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import ONE_LINE, SLUG, Project


class LabelServerQuerySet(models.QuerySet["LabelServer"]):
    def visible_to(self, actor: Actor) -> LabelServerQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class LabelServer(models.Model):
    """A connection to a Label Studio. Its token and the secret of its webhooks are encrypted (tokens.py)."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="label_servers", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    url = models.CharField(max_length=500)
    token = EncryptedTextField(purpose=PURPOSE)
    hook_secret = EncryptedTextField(purpose=PURPOSE)
    state = models.CharField(max_length=12, choices=ServerState.choices, default=ServerState.UNCHECKED)
    version = models.CharField(max_length=60, blank=True)  # as it tells
    failure = models.JSONField(default=dict)  # why the last check failed: a message with its id and values
    checked_at = models.DateTimeField(null=True)
    next_check_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabelServerQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="label_server_name")]
        indexes = [models.Index(fields=["next_check_at"], name="label_server_due")]

    def __str__(self) -> str:
        return self.name


class LabelSchemaQuerySet(models.QuerySet["LabelSchema"]):
    def visible_to(self, actor: Actor) -> LabelSchemaQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


class LabelSchema(models.Model):
    """Labels, relations, fields and rules under one name; each change is a version."""

    project = models.ForeignKey(Project, models.PROTECT, related_name="label_schemas", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    versions_count = models.IntegerField(default=0)  # the number of the newest; the lock that numbers them
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabelSchemaQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="label_schema_name")]
        indexes = [models.Index(fields=["project", "-id"], name="label_schema_recent")]

    def __str__(self) -> str:
        return self.name


class LabelSchemaVersion(models.Model):
    """One version of a schema, and the configuration that it becomes. Never changed."""

    schema = models.ForeignKey(LabelSchema, models.CASCADE, related_name="versions", db_index=False)
    number = models.IntegerField()
    level = models.CharField(max_length=10)
    document = models.JSONField()  # deepseek.labelling.schema.LabellingSchema
    digest = models.CharField(max_length=64)
    config = models.TextField()  # XML
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schema", "number"], name="label_schema_number"),
            models.UniqueConstraint(fields=["schema", "digest"], name="label_schema_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.schema.name} v{self.number}"

    @property
    def project_id(self) -> int:
        return self.schema.project_id


class LabellingProjectQuerySet(models.QuerySet["LabellingProject"]):
    def visible_to(self, actor: Actor) -> LabellingProjectQuerySet:
        """Of the actor's projects, up to the clearance: the tasks hold texts and rows of the source."""
        own = self if actor.plane_role else self.filter(project_id__in=actor.project_ids)
        return own if actor.is_cleared_for_all else own.filter(source__dataset__security_label__lte=actor.clearance)


class LabellingProject(models.Model):
    """The tasks of one dataset version at one level, on one server. Its row is the lock of whoever drives it."""

    MOVES = LABELLING_MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="labelling_projects", db_index=False)
    name = models.CharField(max_length=50, validators=[SLUG])
    server = models.ForeignKey(LabelServer, models.PROTECT, related_name="labelling_projects")
    schema = models.ForeignKey(LabelSchemaVersion, models.PROTECT, related_name="labelling_projects")
    source = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="+")
    source_file = models.CharField(max_length=255, blank=True)  # path in the version; empty: images, or the one file
    text_column = models.CharField(max_length=120, blank=True)  # of a table; empty: "text"
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="children")  # the level before
    prelabel_version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="+")
    order = models.CharField(max_length=12, choices=TaskOrder.choices, default=TaskOrder.SOURCE)
    overlap = models.FloatField(default=0.0)  # share of the tasks that every group marks
    bar = models.FloatField(default=0.0)  # agreement below which no result is published; 0: none
    state = models.CharField(max_length=10, choices=LabellingState.choices, default=LabellingState.PREPARING)
    tasks_count = models.IntegerField(default=0)
    failure = models.JSONField(default=dict)  # what keeps it from going on: a message with its id and values
    failed_at = models.DateTimeField(null=True)  # since when `failure` stands
    notified = models.JSONField(default=list)  # kinds of notices that stand (notices.py)
    progress = models.JSONField(default=dict)  # counts of tasks by state, annotators; as of the last round
    agreement = models.JSONField(default=dict)  # deepseek.labelling.agreement; as of measured_at
    agreement_value = models.FloatField(null=True)  # that the bar is compared with
    measured_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True)  # when marks came that were not there
    next_at = models.DateTimeField(null=True)  # of the next round; null: closed
    full_sync_at = models.DateTimeField(null=True)  # of the next comparison of totals; null: of every task, at once
    owner = models.CharField(max_length=100, blank=True)  # of the lease
    lease_until = models.DateTimeField(null=True)
    publish_request = models.JSONField(default=dict)  # {"dataset", "requester"} of a result that was asked for
    result = models.ForeignKey(DatasetVersion, models.PROTECT, null=True, related_name="+", db_index=False)
    result_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabellingProjectQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="labelling_name")]
        indexes = [
            # The dispatcher looks for these every second.
            models.Index(fields=["next_at"], name="labelling_due", condition=Q(next_at__isnull=False)),
            models.Index(fields=["project", "-id"], name="labelling_recent"),
        ]

    def __str__(self) -> str:
        return self.name


class AnnotatorGroup(models.Model):
    """People who share one project of Label Studio, and see nothing of other groups."""

    labelling = models.ForeignKey(LabellingProject, models.CASCADE, related_name="groups", db_index=False)
    number = models.IntegerField()  # from 1
    name = models.CharField(max_length=60, validators=[ONE_LINE])
    remote_project = models.BigIntegerField(null=True)  # id on the server
    hook = models.BigIntegerField(null=True)  # id of its webhook on the server
    hook_key = models.CharField(max_length=40, unique=True)  # in the address of the webhook
    is_import_open = models.BooleanField(default=False)  # a batch was sent whose answer is not recorded
    cursor = models.DateTimeField(null=True)  # the server's time up to which its changes are here

    class Meta:
        constraints = [models.UniqueConstraint(fields=["labelling", "number"], name="annotator_group_number")]

    def __str__(self) -> str:
        return self.name


class LabelTaskQuerySet(models.QuerySet["LabelTask"]):
    def visible_to(self, actor: Actor) -> LabelTaskQuerySet:
        own = self if actor.plane_role else self.filter(labelling__project_id__in=actor.project_ids)
        if actor.is_cleared_for_all:
            return own
        return own.filter(labelling__source__dataset__security_label__lte=actor.clearance)


class LabelTask(models.Model):
    """A text, an image or a row to be marked, and what it was marked as in the end."""

    labelling = models.ForeignKey(LabellingProject, models.CASCADE, related_name="tasks", db_index=False)
    number = models.IntegerField()  # from 0, in the order that annotators meet them
    row = models.BigIntegerField()  # of the source's file, or the place of the image among its files
    data = models.JSONField()  # {"text": ...}, or {"image": path in the version, "digest": ...}
    prelabel = models.JSONField(null=True)  # marks that annotators begin from: a model's, or those of the level before
    uncertainty = models.FloatField(null=True)
    gold = models.JSONField(null=True)  # marks that are known to be right; annotators are compared with them
    state = models.CharField(max_length=12, choices=TaskState.choices, default=TaskState.OPEN)
    marks = models.JSONField(null=True)  # the result, in a final state
    violations = models.JSONField(default=list)  # names of rules, of the newest annotation that violates one
    decided_by = models.CharField(max_length=200, blank=True)
    decided_at = models.DateTimeField(null=True)

    objects = LabelTaskQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["labelling", "number"], name="label_task_number")]
        indexes = [models.Index(fields=["labelling", "state", "number"], name="label_task_by_state")]

    def __str__(self) -> str:
        return f"task {self.number + 1}"

    @property
    def project_id(self) -> int:
        return self.labelling.project_id


class RemoteTask(models.Model):
    """A task in the project of one group. It exists before it is imported, and says then which task it is there."""

    group = models.ForeignKey(AnnotatorGroup, models.CASCADE, related_name="remote_tasks", db_index=False)
    task = models.ForeignKey(LabelTask, models.CASCADE, related_name="remote_tasks")
    number = models.IntegerField()  # the task's, for the order of imports
    remote_id = models.BigIntegerField(null=True)
    # Why it is imported again: {"annotation", "marks", "rules"} that violate a rule; {"restore": id} deleted there.
    returned = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group", "task"], name="remote_task_once"),
            models.UniqueConstraint(
                fields=["group", "remote_id"], condition=Q(remote_id__isnull=False), name="remote_task_id"
            ),
        ]
        indexes = [
            models.Index(fields=["group", "number"], name="remote_task_due", condition=Q(remote_id__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.group_id}/{self.task_id}"


class Annotator(models.Model):
    """Somebody of the server who has marked something. Outside the project the pseudonym stands for the name."""

    labelling = models.ForeignKey(LabellingProject, models.CASCADE, related_name="annotators", db_index=False)
    remote_user = models.BigIntegerField()
    pseudonym = models.CharField(max_length=20)  # A1, A2...
    name = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["labelling", "remote_user"], name="annotator_once")]

    def __str__(self) -> str:
        return self.pseudonym


class Annotation(models.Model):
    """What one annotator marked in one task, as of `updated_at`, the server's time: of two copies the later stands."""

    group = models.ForeignKey(AnnotatorGroup, models.CASCADE, related_name="annotations", db_index=False)
    task = models.ForeignKey(LabelTask, models.CASCADE, related_name="annotations")
    remote_id = models.BigIntegerField()
    remote_task = models.BigIntegerField()  # that it is in there: a task that was sent back has had several
    annotator = models.ForeignKey(Annotator, models.CASCADE, related_name="annotations")
    marks = models.JSONField()
    unknown = models.JSONField(default=list)  # values that the schema does not have: a label that was renamed there
    seconds = models.FloatField(default=0.0)
    is_skipped = models.BooleanField(default=False)
    is_deleted = models.BooleanField(default=False)  # there: it counts no more, and stays here
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "remote_id"], name="annotation_once")]

    def __str__(self) -> str:
        return f"annotation {self.remote_id}"

"""Bodies that come in (pydantic: strict, every error at once) and jobs that go out (DRF: for the schema too)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from drf_spectacular.utils import extend_schema_field
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from rest_framework import serializers
from rest_framework.reverse import reverse

from apps.core.errors import PlaneError
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import SLOT_LIMIT, Job, JobCheckpoint, JobInput, JobMember, JobOutput
from apps.platform.jobs.spec_validation import build_spec_errors, combine_errors, parse_spec
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.nodes.labels import MAX_REQUESTED_LABELS, NodeLabel, join_labels, split_labels
from deepseek.messages import Message

JobId = Annotated[int, Field(ge=1, le=2**63 - 1)]
Slot = Annotated[str, StringConstraints(min_length=1, max_length=SLOT_LIMIT)]
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
BODY_CODES = {"extra_forbidden": "unknown_field", "missing": "field_missing"}


# -- in -------------------------------------------------------------------------------------------------------------
class InputBody(BaseModel):
    """What fills a slot: `digest` of an artifact that the project holds, or `job` and the `slot` of its output."""

    model_config = STRICT

    digest: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="SHA-256 of an artifact, 64 hex digits.")
    job: JobId | None = Field(None, description="The job whose output it will be.")
    slot: Slot | None = Field(None, description="Which output of that job.")


class NeedsBody(BaseModel):
    """What an attempt takes of a node; what is left out is the kind's own."""

    model_config = STRICT

    cpus: float | None = Field(None, gt=0, le=4096, allow_inf_nan=False, description="CPUs.")
    memory_bytes: int | None = Field(None, ge=2**20, le=2**50, description="Memory, bytes.")
    gpus: int | None = Field(None, ge=0, le=64, description="GPUs.")
    gpu_memory_bytes: int | None = Field(None, ge=0, le=2**50, description="Memory of each GPU, bytes.")
    nodes: int | None = Field(None, ge=1, le=64, description="Nodes; each gives all of the other needs.")
    labels: list[NodeLabel] | None = Field(
        None, max_length=MAX_REQUESTED_LABELS, description="Labels that each of the nodes has, for instance rack=3."
    )


class JobBody(BaseModel):
    """A job to queue. `spec` is validated against its kind: GET /api/v1/kinds has the schemas."""

    model_config = STRICT

    kind: str = Field(max_length=40, description="A key of GET /api/v1/kinds.")
    spec: dict[str, Any] = Field(default_factory=dict, description="What the job does; its schema is the kind's.")
    inputs: dict[Slot, InputBody] = Field(default_factory=dict, max_length=200, description="What fills each slot.")
    after: list[JobId] = Field(default_factory=list, max_length=200, description="Jobs that must succeed before.")
    registers: dict[str, str] = Field(  # the plain name belongs to ABCMeta
        default_factory=dict,
        max_length=10,
        alias="register",
        description="What becomes of the outputs, for instance the name of a dataset.",
    )
    name: str = Field("", description="For people; up to 120 characters.")
    priority: int = Field(0, description="-100 to 100; higher starts first.")
    needs: NeedsBody | None = Field(None, description="Instead of what the kind asks of a node.")
    max_attempts: int | None = Field(None, description="1 to 20.")
    time_limit_seconds: int | None = Field(None, description="Of one attempt; up to 30 days.")


class ReasonBody(BaseModel):
    model_config = STRICT

    reason: str = Field("", max_length=500, description="Stands in the audit trail and on the job's page.")


class PriorityBody(BaseModel):
    model_config = STRICT

    priority: int = Field(ge=-100, le=100, description="-100 to 100; higher starts first.")


def read_body(model: type[BaseModel], data: Any, text: bytes = b"") -> Any:
    """The typed body, or Invalid with every error, each with its JSON pointer; an empty body is an empty object.

    `text`: the JSON of `data` where it is at hand, as of a large batch: writing it again takes a tenth of its time.
    """
    body = {} if data in (None, "") else data
    try:
        return model.model_validate_json(text or json.dumps(body), strict=True)
    except ValidationError as failure:
        raise combine_errors(build_body_errors(failure, body)) from None


def read_submission(data: Any, *, idempotency_key: str | None) -> Submission:
    """What a POST of a job asks for. Its form is checked here, together with its spec; the rest when it is queued."""
    try:
        body = JobBody.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as failure:
        raise combine_errors(build_body_errors(failure, data) + find_spec_errors(data)) from None
    errors = [fault for slot, input_body in body.inputs.items() for fault in find_input_errors(slot, input_body)]
    if errors:
        raise combine_errors(errors + find_spec_errors(data))
    return Submission(
        kind=body.kind,
        spec=body.spec,
        inputs=[
            InputSpec(slot=slot, digest=input_body.digest or "", job_id=input_body.job, job_slot=input_body.slot or "")
            for slot, input_body in body.inputs.items()
        ],
        after=list(dict.fromkeys(body.after)),
        register=body.registers,
        name=body.name,
        priority=body.priority,
        needs=merge_needs(body.needs, body.kind),
        max_attempts=body.max_attempts,
        time_limit_seconds=body.time_limit_seconds,
        idempotency_key=idempotency_key,
    )


def merge_needs(needs: NeedsBody | None, kind: str) -> Needs | None:
    """The kind's own needs with those given in their place; None where none are given."""
    if needs is None or kind not in KINDS:
        return None
    given_needs = needs.model_dump(exclude_none=True)
    if "labels" in given_needs:
        given_needs["labels"] = join_labels(given_needs["labels"])
    return Needs(**{**asdict(KINDS[kind].needs), **given_needs})


def build_body_errors(failure: ValidationError, body: Any) -> list[dict[str, Any]]:
    errors = build_spec_errors(failure, body, prefix="")
    for error in errors:
        code = error["code"].removeprefix("spec_")
        error["code"] = BODY_CODES.get(code, "invalid")
        if code == "extra_forbidden":
            error["hint"] = "Leave this field out."
    return errors


def find_spec_errors(data: Any) -> list[dict[str, Any]]:
    """What is wrong with the spec of a body that is wrong elsewhere, so that one answer names everything."""
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        return []
    spec = data.get("spec", {})
    if not isinstance(spec, Mapping):
        return []  # the body's own error says so
    try:
        parse_spec(data["kind"], spec)
    except PlaneError as failure:
        return failure.errors
    return []


def find_input_errors(slot: str, input_body: InputBody) -> list[dict[str, Any]]:
    if input_body.digest is None or (input_body.job is None and input_body.slot is None):
        return []
    message = Message("The input {slot} names a digest and a job: give one of the two.", slot=slot)
    return [{"code": "input_ambiguous", "message": message, "field": f"/inputs/{slot}", "limit": None, "hint": None}]


# -- out ------------------------------------------------------------------------------------------------------------
class ErrorField(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    field = serializers.CharField(allow_null=True)
    limit = serializers.JSONField(allow_null=True)
    hint = serializers.CharField(allow_null=True)


class PartitionsField(serializers.Serializer[Any]):
    """Partitions of a table, by their numbers from 1."""

    done = serializers.IntegerField()
    total = serializers.IntegerField()
    rows = serializers.IntegerField(help_text="Of the partitions that are done.")
    total_rows = serializers.IntegerField()
    running = serializers.ListField(child=serializers.IntegerField())
    again = serializers.ListField(
        child=serializers.IntegerField(), help_text="Those whose process was lost, until they are done."
    )


class ProgressField(serializers.Serializer[Any]):
    done = serializers.FloatField(allow_null=True, required=False)
    total = serializers.FloatField(allow_null=True, required=False)
    unit = serializers.CharField(required=False)
    stage = serializers.CharField(required=False)
    rate = serializers.FloatField(allow_null=True, required=False, help_text="Units per second.")
    eta_seconds = serializers.FloatField(allow_null=True, required=False)
    partitions = PartitionsField(required=False, help_text="Of a stage that goes over the partitions of a table.")


class LinksField(serializers.Serializer[Any]):
    self = serializers.CharField()
    wait = serializers.CharField()
    log = serializers.CharField()
    log_text = serializers.CharField()
    events = serializers.CharField()
    cancel = serializers.CharField()
    retry = serializers.CharField()
    priority = serializers.CharField()


LINKS = {
    "self": "api-job",
    "wait": "api-job-wait",
    "log": "api-job-log",
    "log_text": "api-job-log-text",
    "events": "api-job-events",
    "cancel": "api-job-cancel",
    "retry": "api-job-retry",
    "priority": "api-job-priority",
}


def format_attempt(job: Job) -> str:
    """`1 of 3`: the attempt that runs or ran last; given-back attempts do not count."""
    return f"{job.attempts_used} of {job.max_attempts}"


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job in a list. Needs `project` (the slug) in the context."""

    state = serializers.ChoiceField(choices=JobState.choices, read_only=True)
    attempt = serializers.SerializerMethodField()
    node = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    links = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields: tuple[str, ...] = (
            "id",
            "kind",
            "name",
            "state",
            "requester",
            "priority",
            "queue",
            "attempt",
            "node",
            "progress",
            "error",
            "cancel_requested_at",
            "created_at",
            "queued_at",
            "claimed_at",
            "ended_at",
            "links",
        )
        read_only_fields = fields

    def get_attempt(self, job: Job) -> str:
        return format_attempt(job)

    def get_node(self, job: Job) -> str | None:
        return job.node.name if job.node else None

    @extend_schema_field(ProgressField(allow_null=True))
    def get_progress(self, job: Job) -> dict[str, Any] | None:
        return job.progress or None

    @extend_schema_field(ErrorField(allow_null=True))
    def get_error(self, job: Job) -> dict[str, Any] | None:
        return job.error

    @extend_schema_field(LinksField)
    def get_links(self, job: Job) -> dict[str, str]:
        where = {"project": self.context["project"], "pk": job.pk}
        return {rel: reverse(name, kwargs=where) for rel, name in LINKS.items()}


class InputSerializer(serializers.ModelSerializer[JobInput]):
    digest = serializers.CharField(source="artifact_id", allow_null=True, help_text="null: not made yet")
    size = serializers.IntegerField(source="artifact.size", default=None, allow_null=True)
    job = serializers.IntegerField(source="source_job_id", allow_null=True)
    job_slot = serializers.CharField(source="source_slot")

    class Meta:
        model = JobInput
        fields = ("slot", "digest", "size", "job", "job_slot")
        read_only_fields = fields


class OutputSerializer(serializers.ModelSerializer[JobOutput]):
    digest = serializers.CharField(source="artifact_id")
    size = serializers.IntegerField(source="artifact.size")

    class Meta:
        model = JobOutput
        fields = ("slot", "digest", "size", "name", "media_type", "meta")
        read_only_fields = fields


class NeedsField(serializers.Serializer[Job]):
    cpus = serializers.FloatField(source="need_cpus")
    memory_bytes = serializers.IntegerField(source="need_memory_bytes")
    gpus = serializers.IntegerField(source="need_gpus")
    gpu_memory_bytes = serializers.IntegerField(source="need_gpu_memory_bytes")
    nodes = serializers.IntegerField(source="need_nodes")
    labels = serializers.SerializerMethodField(help_text="Labels that each of its nodes has.")

    def get_labels(self, job: Job) -> list[str]:
        return split_labels(job.need_labels)


class FreeField(serializers.Serializer[Any]):
    cpus = serializers.FloatField()
    memory_bytes = serializers.IntegerField()
    gpus = serializers.ListField(child=serializers.IntegerField())


class RoomField(serializers.Serializer[Any]):
    expected_at = serializers.DateTimeField(allow_null=True, help_text="By what the running jobs say of themselves.")
    latest_at = serializers.DateTimeField(help_text="By their time limits.")
    jobs = serializers.ListField(child=serializers.IntegerField(), help_text="That have to end for it.")
    other_jobs = serializers.IntegerField(help_text="Of projects that you are not in, that have to end too.")


class NodeWaitField(serializers.Serializer[Any]):
    node = serializers.CharField()
    free = FreeField()
    why_not = serializers.CharField(help_text="Empty: it could start there.")
    kept = serializers.BooleanField(help_text="What becomes free there is kept for this job.")
    room = RoomField(allow_null=True, help_text="When a busy node will have room; null where no end makes it.")


class WaitField(serializers.Serializer[Any]):
    position = serializers.IntegerField(allow_null=True, help_text="Jobs that its queue gives out before it.")
    summary = serializers.CharField()
    nodes = NodeWaitField(many=True)


class JobCheckpointSerializer(serializers.ModelSerializer[JobCheckpoint]):
    class Meta:
        model = JobCheckpoint
        fields = ("step", "attempt", "size", "digest", "created_at")
        read_only_fields = fields


class MemberField(serializers.ModelSerializer[JobMember]):
    node = serializers.CharField(source="node_name")

    class Meta:
        model = JobMember
        fields = ("rank", "node", "state", "devices", "error", "ended_at")
        read_only_fields = fields


class ParentField(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=JobState.choices)


class JobDetailSerializer(JobSerializer):
    """A job whole. The view puts `wait`, `parents`, `children` and `checkpoint` into the context."""

    spec = serializers.SerializerMethodField()
    needs = NeedsField(source="*")
    extra = serializers.CharField(source="need_extra", help_text="What of a node's `extras` it needs; empty: none.")
    inputs = InputSerializer(many=True)
    outputs = OutputSerializer(many=True)
    parents = serializers.SerializerMethodField()
    children = serializers.SerializerMethodField()
    wait = serializers.SerializerMethodField()
    checkpoint = serializers.SerializerMethodField()
    members = serializers.SerializerMethodField()

    class Meta(JobSerializer.Meta):
        fields = (
            *JobSerializer.Meta.fields,
            "spec",
            "spec_digest",
            "needs",
            "extra",
            "devices",
            "time_limit_seconds",
            "max_attempts",
            "register",
            "inputs",
            "outputs",
            "parents",
            "children",
            "wait",
            "checkpoint",
            "members",
            "not_before",
            "stalled_since",
            "cancel_reason",
            "result",
            "log_lines",
            "event_seq",
        )
        read_only_fields = fields

    def get_spec(self, job: Job) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(job.spec)
        return spec

    @extend_schema_field(ParentField(many=True))
    def get_parents(self, job: Job) -> list[dict[str, Any]]:
        return list(self.context["parents"])

    @extend_schema_field(ParentField(many=True))
    def get_children(self, job: Job) -> list[dict[str, Any]]:
        return list(self.context["children"])

    @extend_schema_field(WaitField(allow_null=True))
    def get_wait(self, job: Job) -> dict[str, Any] | None:
        wait: dict[str, Any] | None = self.context["wait"]
        return wait

    @extend_schema_field(JobCheckpointSerializer(allow_null=True))
    def get_checkpoint(self, job: Job) -> dict[str, Any] | None:
        """What its next attempt goes on from."""
        checkpoint = self.context["checkpoint"]
        return None if checkpoint is None else dict(JobCheckpointSerializer(checkpoint).data)

    @extend_schema_field(MemberField(many=True))
    def get_members(self, job: Job) -> list[dict[str, Any]]:
        """The nodes of its newest attempt, where it runs over several."""
        return [dict(MemberField(member).data) for member in self.context["members"]]


class LineSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField(allow_null=True)
    level = serializers.CharField()
    text = serializers.CharField()


class LogSerializer(serializers.Serializer[Any]):
    items = LineSerializer(many=True)
    next = serializers.IntegerField(allow_null=True, help_text="Send it as `after` for more; null: that was all.")
    total = serializers.IntegerField(help_text="Lines of the whole log, searched or not.")


class KindSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    doc = serializers.CharField()
    queue = serializers.CharField()
    inputs = serializers.ListField(child=serializers.CharField())
    optional_inputs = serializers.ListField(child=serializers.CharField())
    any_inputs = serializers.BooleanField(help_text="Takes slots of any name.")
    folders = serializers.ListField(
        child=serializers.CharField(), help_text="Filled with files, each as FOLDER/path; the spec can name a version."
    )
    outputs = serializers.ListField(child=serializers.CharField())
    registers = serializers.ListField(child=serializers.CharField())
    needs = serializers.DictField(child=serializers.FloatField())
    extra = serializers.CharField(help_text="What of a node's `extras` it needs; a spec may ask for more. Empty: none.")
    time_limit_seconds = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    schema = serializers.JSONField(help_text="JSON Schema of `spec`.")

"""Jobs. The queue is this table; Celery only rings the doorbell, so that a worker looks at it at once."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.states import ENDED, MEMBER_MOVES, MOVES, OPEN_MEMBERS, JobState, MemberState
from apps.platform.nodes.models import Node

SLOT_LIMIT = 255  # characters; a script's slots are paths


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, actor: Actor) -> JobQuerySet:
        return self if actor.plane_role else self.filter(project_id__in=actor.project_ids)


MAX_JOB_ID = 2**63  # behind every job that there is


class Job(models.Model):
    MOVES = MOVES

    project = models.ForeignKey(Project, models.PROTECT, related_name="jobs")
    kind = models.CharField(max_length=40)  # no choices: a new kind needs no migration
    name = models.CharField(max_length=120, blank=True)
    spec = models.TextField()  # canonical JSON, as validated
    spec_digest = models.CharField(max_length=64)
    register = models.JSONField(default=dict)  # what the worker makes of the outputs; opaque here
    state = models.CharField(max_length=10, default=JobState.QUEUED, choices=JobState.choices)
    queue = models.CharField(max_length=20)
    priority = models.SmallIntegerField(default=0)  # higher first
    need_cpus = models.FloatField(default=1)
    need_memory_bytes = models.BigIntegerField(default=0)
    need_gpus = models.SmallIntegerField(default=0)
    need_gpu_memory_bytes = models.BigIntegerField(default=0)  # of each GPU
    need_nodes = models.SmallIntegerField(default=1)  # each with the needs above; see JobMember
    need_extra = models.CharField(max_length=40, blank=True)  # what of Node.extras it takes; "" for none
    need_labels = models.CharField(max_length=200, blank=True)  # of Node.labels, sorted, with commas between
    time_limit_seconds = models.IntegerField()

    attempt = models.IntegerField(default=0)  # the fence: bumped by every claim, never goes back
    released = models.IntegerField(default=0)  # attempts that do not count: a graceful stop, those before a retry
    max_attempts = models.IntegerField(default=3)
    owner = models.CharField(max_length=80, blank=True)
    # No index of its own: it would hold every job that ever ran there, and SQLite would take it instead of job_on_node.
    node = models.ForeignKey(Node, models.SET_NULL, null=True, related_name="jobs", db_index=False)
    lease_until = models.DateTimeField(null=True)
    devices = models.JSONField(default=list)  # indices of the node's GPUs that this attempt may use
    # Queued for long, and this node is kept free for it (scheduling/reservations.py); the index is job_reserved.
    reserved_on = models.ForeignKey(Node, models.SET_NULL, null=True, related_name="reserved_jobs", db_index=False)
    # The only node that may run it: a folder there has what it goes on from. Few jobs have one, so no index.
    bound_to = models.ForeignKey(Node, models.SET_NULL, null=True, related_name="bound_jobs", db_index=False)
    process = models.JSONField(null=True)  # {host, boot_id, pid, start_time} of the shim
    not_before = models.DateTimeField(null=True)  # back-off after a failed attempt, or one that was stalled
    # Since when, and how often in a row, a full disk or the like has ended its attempts, which count as released.
    stalled_since = models.DateTimeField(null=True)
    stalls = models.IntegerField(default=0)
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=500, blank=True)

    grant = models.JSONField()  # who asked, as an actor record; checked again at the claim
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is what the constraint skips
    idempotency_digest = models.CharField(max_length=64, blank=True)
    requester = models.CharField(max_length=200)

    progress = models.JSONField(default=dict)  # last report: done, total, unit, stage, rate, eta_seconds, partitions
    event_seq = models.IntegerField(default=0)  # of the newest JobEvent; bumped under the row's lock
    log_lines = models.IntegerField(default=0)
    error = models.JSONField(null=True)  # {code, message, field, limit, hint}: why it failed
    result = models.JSONField(null=True)  # the engine's summary

    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "requester", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="job_idempotency",
            )
        ]
        indexes = [
            # The claim reads this one from its start and stops at the first row that fits.
            models.Index(fields=["queue", "-priority", "id"], name="job_claim", condition=Q(state="queued")),
            models.Index(fields=["lease_until"], name="job_leases", condition=Q(state="running")),
            # The dispatcher looks for these every second, however many jobs have ended.
            models.Index(fields=["id"], name="job_waiting", condition=Q(state="waiting")),
            models.Index(fields=["node"], name="job_on_node", condition=Q(state="running")),
            models.Index(
                fields=["reserved_on"], name="job_reserved", condition=Q(state="queued", reserved_on__isnull=False)
            ),
            # What ended last on a node, and what has ended since somebody looked; without those that still run.
            models.Index(fields=["node", "-ended_at"], name="job_ended_on", condition=Q(ended_at__isnull=False)),
            models.Index(fields=["ended_at", "id"], name="job_ended", condition=Q(ended_at__isnull=False)),
            models.Index(fields=["project", "-id"], name="job_recent"),
            models.Index(fields=["project", "state", "-id"], name="job_by_state"),
            models.Index(fields=["project", "kind", "-id"], name="job_by_kind"),
            models.Index(fields=["project", "requester", "-id"], name="job_by_requester"),
            # A list narrowed to days walks one of these, and a row of another day is never read.
            models.Index(fields=["project", "created_at", "id"], name="job_by_made"),
            models.Index(fields=["project", "ended_at", "id"], name="job_by_end", condition=Q(ended_at__isnull=False)),
            # Home tells what failed since yesterday, however many have failed before.
            models.Index(fields=["project", "-ended_at"], name="job_failures", condition=Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.kind}"

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_pausing(self) -> bool:
        """Whether it is queued and its next attempt may not begin yet."""
        return self.state == JobState.QUEUED and self.not_before is not None and self.not_before > timezone.now()

    def is_behind(self, other: Job) -> bool:
        """Whether the queue would give out `other` first; one that is not saved yet comes after all of its priority."""
        return self.pk != other.pk and (-self.priority, self.pk or MAX_JOB_ID) > (
            -other.priority,
            other.pk or MAX_JOB_ID,
        )

    @property
    def attempts_used(self) -> int:
        return self.attempt - self.released


class QueueSample(models.Model):
    """How long a queue was: telemetry, exempt from the audit. `span` and `at` as of nodes.NodeSample."""

    queue = models.CharField(max_length=20)
    span = models.SmallIntegerField(default=0)
    at = models.DateTimeField()
    queued = models.FloatField(default=0)
    running = models.FloatField(default=0)
    waiting = models.FloatField(default=0)  # for a parent
    oldest_seconds = models.FloatField(null=True)  # that the one queued longest has waited

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "span", "at"], name="queue_sample_once")]
        indexes = [models.Index(fields=["span", "at"], name="queue_sample_age")]

    def __str__(self) -> str:
        return f"{self.queue} {self.at:%Y-%m-%d %H:%M:%S}"


class JobTally(models.Model):
    """How many jobs have ever ended, and how long their last attempts ran: counted once, since counting rows anew
    would take longer the more there are. Only ever grows (apps/platform/jobs/scheduling/ended_job_counters.py).
    """

    kind = models.CharField(max_length=40)
    queue = models.CharField(max_length=20)
    state = models.CharField(max_length=10)
    ended = models.BigIntegerField(default=0)
    ran = models.BigIntegerField(default=0)  # of those, the ones that a worker had begun
    seconds = models.FloatField(default=0)  # that these ran, together
    buckets = models.JSONField(default=list)  # how many ran for at most BUCKET_BOUNDS[i] seconds

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "queue", "state"], name="job_tally_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}: {self.ended}"


class TallyMark(models.Model):
    """The one row that a tally locks: the last job that was counted. `pk` is always 1."""

    ended_at = models.DateTimeField(null=True)
    job = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"up to {self.ended_at}"


class JobParent(models.Model):
    """`child` waits until `parent` has succeeded; with slots, the parent's output becomes the child's input."""

    parent = models.ForeignKey(Job, models.PROTECT, related_name="children_links")
    child = models.ForeignKey(Job, models.CASCADE, related_name="parent_links")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["parent", "child"], name="job_parent_once")]


class JobMember(models.Model):
    """One node's part in an attempt over several nodes. The members of an attempt are made together, by its claim.

    The worker of rank 0 owns the job's row and ends the attempt. The others hold their member's row, fenced by its
    owner, for as long as the job runs this attempt; what they write of their end is for the first one to read.
    """

    MOVES = MEMBER_MOVES

    job = models.ForeignKey(Job, models.CASCADE, related_name="members", db_index=False)
    attempt = models.IntegerField()
    rank = models.SmallIntegerField()  # of the node, 0 to need_nodes - 1
    node = models.ForeignKey(Node, models.SET_NULL, null=True, related_name="members", db_index=False)
    node_name = models.CharField(max_length=120)  # a node may go
    state = models.CharField(max_length=10, default=MemberState.INVITED, choices=MemberState.choices)
    owner = models.CharField(max_length=80, blank=True)
    devices = models.JSONField(default=list)  # as of Job
    process = models.JSONField(null=True)  # as of Job
    lease_until = models.DateTimeField(null=True)  # null for rank 0, which has the job's
    address = models.CharField(max_length=100, blank=True)  # at which the other members' nodes reach this one
    port = models.IntegerField(null=True)
    stacks_requested_at = models.DateTimeField(null=True)  # the stacks of its ranks belong into the log
    error = models.JSONField(null=True)  # as of Job
    retry = models.BooleanField(default=True)  # whether another attempt may help against `error`
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "attempt", "rank"], name="job_member_rank"),
            models.UniqueConstraint(fields=["job", "attempt", "node"], name="job_member_node"),
        ]
        indexes = [
            models.Index(fields=["node"], name="job_member_open", condition=Q(state__in=OPEN_MEMBERS)),
            models.Index(fields=["lease_until"], name="job_member_leases", condition=Q(state__in=OPEN_MEMBERS)),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}, attempt {self.attempt}, rank {self.rank} on {self.node_name}"

    @property
    def project_id(self) -> int:
        return self.job.project_id


class JobReservation(models.Model):
    """A node that is kept free for a queued job over several nodes: all of them have a row, or none."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="reservations", db_index=False)
    node = models.ForeignKey(Node, models.CASCADE, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "node"], name="job_reservation_once")]

    def __str__(self) -> str:
        return f"{self.node_id} for job {self.job_id}"


class JobInput(models.Model):
    """What goes into a slot: an artifact, or the output that another job will have."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="inputs")
    slot = models.CharField(max_length=SLOT_LIMIT)
    artifact = models.ForeignKey(Artifact, models.PROTECT, null=True, related_name="+")  # null: not made yet
    source_job = models.ForeignKey(Job, models.PROTECT, null=True, related_name="+")
    source_slot = models.CharField(max_length=SLOT_LIMIT, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "slot"], name="job_input_once")]
        # The newest jobs that took some bytes, however many took them before.
        indexes = [models.Index(fields=["artifact", "-job"], name="job_input_taken")]


class JobOutput(models.Model):
    job = models.ForeignKey(Job, models.CASCADE, related_name="outputs")
    slot = models.CharField(max_length=SLOT_LIMIT)
    artifact = models.ForeignKey(Artifact, models.PROTECT, related_name="+")
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=120)
    meta = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "slot"], name="job_output_once")]


class JobProvenance(models.Model):
    """What made the outputs of a job, beside its spec and inputs: the engine's code, the machine, its packages.

    Written with the outputs and never changed (apps/platform/jobs/provenance.py).
    """

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="provenance")
    attempt = models.IntegerField()
    node = models.CharField(max_length=120, blank=True)  # its name then: a node may go
    code_digest = models.CharField(max_length=64)  # of the engine's source (deepseek/code.py)
    environment = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.code_digest[:12]} on {self.node}"


class JobNotice(models.Model):
    """A move of a job that somebody outside is still to be told, by one way out: written with the move, taken away when
    it was acknowledged. Telemetry, exempt from the audit; there are none where nothing is told outside.
    """

    event = models.ForeignKey("JobEvent", models.CASCADE, related_name="+", db_index=False)
    sink = models.CharField(max_length=10)  # file | http
    tries = models.IntegerField(default=0)
    not_before = models.DateTimeField(null=True)  # back-off, or the lease of whoever sends it now
    refused = models.CharField(max_length=500, blank=True)  # why the other side will never take it

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event", "sink"], name="job_notice_once")]
        indexes = [models.Index(fields=["sink", "id"], name="job_notice_next", condition=Q(refused=""))]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.sink}"


class JobCheckpoint(models.Model):
    """What the next attempt goes on from: the newest that the engine announced and a worker has stored whole."""

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="checkpoint")
    attempt = models.IntegerField()  # that made it: the bytes lie in this attempt's area of the store
    step = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    size = models.BigIntegerField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"step {self.step} of job {self.job_id}"


class JobEvent(models.Model):
    """Telemetry, exempt from the audit: progress, flushed log lines, metrics, and the moves of the state."""

    job = models.ForeignKey(
        Job, models.CASCADE, related_name="events", db_index=False
    )  # the indexes below begin with it
    seq = models.IntegerField()
    attempt = models.IntegerField()
    kind = models.CharField(max_length=10)  # progress | log | metric | state | usage
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="job_event_once")]
        # A page wants the last moves and metrics of a job that may have tens of thousands of log events.
        indexes = [models.Index(fields=["job", "kind", "-seq"], name="job_event_kind")]

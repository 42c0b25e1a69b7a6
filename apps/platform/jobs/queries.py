"""What pages and REST read of jobs: lists, one job, why it waits, its log and its timeline."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.messages import translate_message
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.jobs.errors import NODE_UNFIT
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import (
    Job,
    JobEvent,
    JobInput,
    JobMember,
    JobOutput,
    JobQuerySet,
    JobReservation,
)
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.placement import (
    FreeCapacity,
    compute_free_capacity,
    describe_shortfall,
    explain_why_not,
    find_opening,
    get_total_capacity,
)
from apps.platform.jobs.states import OPEN_MEMBERS, JobState, MemberState
from apps.platform.nodes.models import Node

MAX_ID = 2**63 - 1
LEFT_OUT_SECONDS = 600.0
"""A node that failed a job over several nodes is left out of its attempts for so long."""
LACKING_SHOWN = 3  # nodes that cannot take part, in one sentence
LOG_LIMIT = (1, 5000)  # lines of one answer
LINES_PER_READ = 4000  # lines held in memory at once while a log is searched or downloaded
EVENTS_PER_READ = (4, 400)
MAX_TAIL_EVENTS = 40
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
FILTERS = ("state", "kind", "requester", "name")


# -- lists and rows -------------------------------------------------------------------------------------------------
def list_jobs(
    actor: Actor, project: Project, *, state: str = "", kind: str = "", requester: str = "", name: str = ""
) -> JobQuerySet:
    """The jobs of a project that match every filter given, to be ordered by `-id` and paged.

    Raises Invalid for a state or a kind that does not exist: an empty list would look like an answer.
    """
    policy.require(actor, "job.view", project)
    validate_choice("state", state, JobState.values)
    validate_choice("kind", kind, KINDS)
    jobs = Job.objects.visible_to(actor).filter(project=project).select_related("node")
    for lookup, value in (("state", state), ("kind", kind), ("requester", requester), ("name__icontains", name)):
        if value:
            jobs = jobs.filter(**{lookup: value.replace("\x00", "")})
    return jobs.order_by("-id")


def get_job(actor: Actor, project: Project, pk: int) -> Job:
    """The job `pk` of this project with its node and checkpoint; NotFound if `actor` may not see one."""
    policy.require(actor, "job.view", project)
    visible = Job.objects.visible_to(actor).filter(project=project).select_related("node", "project", "checkpoint")
    job = visible.filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if job is None:
        raise NotFound("This project has no job {pk}.", pk=pk, field="id")
    return job


def load_slots(job: Job) -> None:
    """The inputs and outputs of a job with their artifacts, for its page and its JSON: two queries."""
    filled = [queryset.select_related("artifact") for queryset in (JobInput.objects, JobOutput.objects)]
    models.prefetch_related_objects([job], models.Prefetch("inputs", filled[0]), models.Prefetch("outputs", filled[1]))


# -- why it waits ---------------------------------------------------------------------------------------------------
def explain_wait(actor: Actor, job: Job) -> dict[str, Any]:
    """Why a waiting or queued job has not started: `position` (jobs ahead of it in its queue), a sentence, and for
    each node what it has free and why it does not take the job ("" if it could). Three queries at most.
    """
    if job.state == JobState.WAITING:
        return {"position": None, "summary": describe_parents(job), "nodes": []}
    if job.state != JobState.QUEUED:
        return {"position": None, "summary": "", "nodes": []}
    return explain_queued(actor, [job])[0]


def explain_queued(actor: Actor, jobs: list[Job], nodes: list[Node] | None = None) -> list[dict[str, Any]]:
    """What `explain_wait` says of each of these queued jobs; three queries, however many jobs, and two for who has all
    nodes `with_status` already.
    """
    if not jobs:
        return []
    ahead = count_jobs_ahead(jobs)
    if nodes is None:
        nodes = list(Node.objects.visible_to(actor).with_status().order_by("name"))
    running, reserved_by_node = load_by_node(nodes)
    left_out = load_left_out_nodes([job for job in jobs if job.need_nodes > 1])
    explanations = []
    for job in jobs:
        pairs = [
            (node, build_node_row(actor, job, node, running[node.pk], reserved_by_node.get(node.pk))) for node in nodes
        ]
        for node, row in pairs:
            if why := left_out.get((job.pk, node.pk)):
                row["why_not"] = row["why_not"] or _("is left out: %(why)s") % {"why": why}
        pairs.sort(key=lambda pair: build_proximity_key(job, *pair))
        rows = [row for _node, row in pairs]
        is_visible = bool(actor.plane_role) or job.project_id in actor.project_ids
        summary = summarize_wait(job, ahead[job.pk], pairs, is_visible=is_visible)
        explanations.append({"position": ahead[job.pk], "summary": summary, "nodes": rows})
    return explanations


def count_jobs_ahead(jobs: list[Job]) -> dict[int, int]:
    """{id of each of `jobs`: how many jobs of any project its queue would give out first}; one query.

    One that pauses after a failed attempt is not given out, so it is ahead of nobody.
    """
    due = build_due_filter()
    counts = {}
    for job in jobs:
        before = models.Q(priority__gt=job.priority) | models.Q(priority=job.priority, pk__lt=job.pk)
        counts[f"before_{job.pk}"] = models.Count("pk", filter=before & models.Q(queue=job.queue))
    queues = {job.queue for job in jobs}
    row = Job.objects.filter(due, state=JobState.QUEUED, queue__in=queues).aggregate(**counts)
    return {job.pk: row[f"before_{job.pk}"] for job in jobs}


def load_by_node(nodes: list[Node]) -> tuple[Mapping[int | None, list[Job]], dict[int | None, Job]]:
    """Load the running jobs of each node and, by node, the job that it is reserved for (scheduling/reservations.py).

    One query over the two partial indexes; two more where jobs run over several nodes, or wait to.
    """
    needs = ("need_cpus", "need_memory_bytes", "need_gpus", "need_gpu_memory_bytes", "devices")
    columns = (
        "attempt",
        "state",
        "queue",
        "priority",
        "reserved_on_id",
        "progress",
        "claimed_at",
        "time_limit_seconds",
    )
    jobs = Job.objects.only("pk", "project_id", "node_id", "need_nodes", *columns, *needs)
    running = jobs.filter(models.Q(node__in=nodes) | models.Q(need_nodes__gt=1), state=JobState.RUNNING)
    running_by_node: dict[int | None, list[Job]] = defaultdict(list)
    reserved_by_node: dict[int | None, Job] = {}
    reserved_jobs: list[Job] = []
    for job in running.union(jobs.filter(state=JobState.QUEUED, reserved_on__isnull=False), all=True):
        if job.state == JobState.RUNNING:
            running_by_node[job.node_id].append(job)
        else:
            reserved_jobs.append(job)
    if gangs := [job for jobs in running_by_node.values() for job in jobs if job.need_nodes > 1]:
        for member in load_members_beyond_first(gangs):
            running_by_node[member.node_id].append(member)
    for job in sorted(reserved_jobs, key=lambda job: job.pk, reverse=True):
        reserved_by_node[job.reserved_on_id] = job
    if any(job.need_nodes > 1 for job in reserved_jobs):
        by_pk = {job.pk: job for job in reserved_jobs}
        for reservation in JobReservation.objects.filter(job__in=list(by_pk)).order_by("-job"):
            reserved_by_node[reservation.node_id] = by_pk[reservation.job_id]
    return running_by_node, reserved_by_node


def list_job_members(job: Job) -> list[JobMember]:
    """The members of the newest attempt of a job over several nodes, by rank; no query for any other job."""
    if job.need_nodes == 1:
        return []
    return list(JobMember.objects.filter(job=job, attempt=job.attempt).order_by("rank"))


def load_members_beyond_first(gangs: Iterable[Job]) -> list[Job]:
    """What running jobs over several nodes take of the nodes beyond their first: for each open member its job, with the
    member's node and devices.
    """
    by_key = {(job.pk, job.attempt): job for job in gangs}
    members = JobMember.objects.filter(job__in={pk for pk, _attempt in by_key}, rank__gt=0, state__in=OPEN_MEMBERS)
    return [
        copy_for_member(by_key[member.job_id, member.attempt], member)
        for member in members
        if (member.job_id, member.attempt) in by_key
    ]


def copy_for_member(job: Job, member: JobMember) -> Job:
    """`job` as it takes the member's node; never saved."""
    part = copy.copy(job)
    part.__dict__ |= {"node_id": member.node_id, "devices": member.devices}
    return part


def load_left_out_nodes(gangs: Iterable[Job]) -> dict[tuple[int, int], str]:
    """{(job, node): why} of the nodes that have failed a job over several nodes within LEFT_OUT_SECONDS, so that its
    next attempt begins without them. No query without such jobs.
    """
    pks = [job.pk for job in gangs if job.pk]
    if not pks:
        return {}
    since = Now() - timedelta(seconds=LEFT_OUT_SECONDS)
    members = JobMember.objects.filter(job__in=pks, ended_at__gt=since, node__isnull=False).order_by("ended_at")
    unfit = models.Q(state=MemberState.MISSING) | models.Q(state=MemberState.FAILED, error__code=NODE_UNFIT)
    return {
        (member.job_id, member.node_id or 0): translate_message(member.error or {}) for member in members.filter(unfit)
    }


def build_node_row(actor: Actor, job: Job, node: Node, running: list[Job], reserved_for: Job | None) -> dict[str, Any]:
    online = bool(getattr(node, "online", False))
    return {
        "node": node.name,
        "free": free_as_dict(compute_free_capacity(node, running)),
        "why_not": explain_why_not(job, node, running, online=online, reserved_for=reserved_for),
        "kept": reserved_for is not None and reserved_for.pk == job.pk,
        "room": estimate_room(actor, job, node, running)
        if online and not node.held_at and job.queue in node.queues
        else None,
    }


def estimate_room(actor: Actor, job: Job, node: Node, running: list[Job]) -> dict[str, Any] | None:
    """When a busy node will have room for `job`. Jobs of projects that the reader is not in are counted, not named."""
    next_opening = find_opening(job, node, running, timezone.now())
    if next_opening is None:
        return None
    visible_ids = sorted(
        blocking_job.pk
        for blocking_job in next_opening.jobs
        if actor.plane_role or blocking_job.project_id in actor.project_ids
    )
    hidden_count = len(next_opening.jobs) - len(visible_ids)
    return {
        "expected_at": next_opening.expected,
        "latest_at": next_opening.latest,
        "jobs": visible_ids,
        "other_jobs": hidden_count,
    }


def free_as_dict(free: FreeCapacity) -> dict[str, Any]:
    cpus, memory = max(0.0, free.cpus), max(0, free.memory_bytes)
    return {"cpus": round(cpus, 3), "memory_bytes": memory, "gpus": [gpu["index"] for gpu in free.gpus]}


def build_proximity_key(job: Job, node: Node, row: dict[str, Any]) -> tuple[bool, bool, bool, float, str]:
    """The order in which nodes are told: what could take the job, what soonest will, what serves its queue, others."""
    room = row["room"]
    soon = (room["expected_at"] or room["latest_at"]).timestamp() if room else 0.0
    return bool(row["why_not"]), room is None, job.queue not in node.queues, soon, node.name


def summarize_wait(job: Job, ahead: int, pairs: list[tuple[Node, dict[str, Any]]], *, is_visible: bool) -> str:
    """One sentence: the reason that would still hold if all the others were gone comes first. Of nodes without room,
    the one that has it first is named.
    """
    serving = [(node, row) for node, row in pairs if job.queue in node.queues]
    online = [(node, row) for node, row in serving if getattr(node, "online", False)]
    if not online and job.need_gpus:
        return _("It needs a GPU, and no node that serves the queue %(queue)s is online.") % {"queue": job.queue}
    if not online:
        return _("No node that serves the queue %(queue)s is online.") % {"queue": job.queue}
    if job.bound_to is not None and job.bound_to_id not in [node.pk for node, _row in online]:
        return _("It goes on only on %(node)s, which keeps its state and is not online.") % {"node": job.bound_to.name}
    if all(describe_shortfall(job, get_total_capacity(node)) for node, _row in online):
        node, row = online[0]
        return _("No node is large enough: %(node)s %(why)s.") % {"node": node.name, "why": row["why_not"]}
    if job.not_before and job.not_before > timezone.now():
        return describe_pause(job, with_reason=is_visible)
    if job.need_nodes > 1 and (text := summarize_gang_wait(job, online)):
        return text
    if all(row["why_not"] for _node, row in online):
        node, row = next((pair for pair in online if pair[1]["kept"]), online[0])
        text = _("No node has capacity: %(node)s %(why)s.") % {"node": node.name, "why": row["why_not"]}
        return f"{text} {_('What becomes free there is kept for it.')}" if row["kept"] else text
    if ahead:
        text = ngettext("%(count)d job is ahead of it.", "%(count)d jobs are ahead of it.", ahead)
        return text % {"count": ahead}
    return _("It starts as soon as a worker looks.")


def summarize_gang_wait(job: Job, online: list[tuple[Node, dict[str, Any]]]) -> str:
    """What is missing of the nodes that a job needs at once; empty if there are enough."""
    lacking = [f"{node.name} {row['why_not']}" for node, row in online if row["why_not"]]
    ready = len(online) - len(lacking)
    if ready >= job.need_nodes:
        return ""
    what = _("%(cpus)g CPUs, %(memory).1f GB of memory") % {
        "cpus": job.need_cpus,
        "memory": job.need_memory_bytes / 1e9,
    }
    if job.need_gpus:
        what += ", " + _("%(count)d GPU(s)") % {"count": job.need_gpus}
    text = _("It needs %(need)d nodes at once, each with %(what)s. With room: %(count)d; missing: %(missing)d.") % {
        "need": job.need_nodes,
        "what": what,
        "count": ready,
        "missing": job.need_nodes - ready,
    }
    listed = lacking[:LACKING_SHOWN] + (["…"] if len(lacking) > LACKING_SHOWN else [])
    return f"{text} {'; '.join(listed)}." if listed else text


def describe_pause(job: Job, *, with_reason: bool) -> str:
    """When the next attempt may begin and, for who may see the job, what ended the last one."""
    left = (job.not_before - timezone.now()).total_seconds() if job.not_before else 0.0
    text = _("Next attempt in %(seconds)d s.") % {"seconds": max(1, round(left))}
    why = translate_message(job.error or {}) if with_reason else ""
    if not why:
        return text
    if job.stalled_since:
        return f"{text} {_('Stalled, which costs no attempt: %(why)s') % {'why': why}}"
    return f"{text} {_('The last attempt failed: %(why)s') % {'why': why}}"


def describe_parents(job: Job) -> str:
    parents = Job.objects.filter(children_links__child=job).exclude(state=JobState.SUCCEEDED).order_by("pk")
    labels = [f"#{parent.pk} ({JobState(parent.state).label})" for parent in parents[:20]]
    return _("It waits for %(jobs)s.") % {"jobs": ", ".join(labels)} if labels else _("Its parents have succeeded.")


# -- log and timeline -----------------------------------------------------------------------------------------------
def search_log(job: Job, *, after: int = 0, limit: int = 500, query: str = "", level: str = "") -> list[dict[str, Any]]:
    """At most `limit` lines behind line `after` that contain `query` and are of `level` or graver.

    Every line is looked at, in bounded memory. A line is {number, at, level, text}; numbers count all lines from 1.
    """
    low, high = LOG_LIMIT
    if not low <= limit <= high:
        raise Invalid("limit is {most}.", most=limit, code="limit_out_of_range", field="limit", limit=f"{low}..{high}")
    validate_choice("level", level, LEVELS)
    needle, least = query.casefold(), LEVELS.get(level, 0)
    lines: list[dict[str, Any]] = []
    for line in iter_lines(job, after=after):
        grave = least == 0 or LEVELS.get(str(line["level"]).lower(), 20) >= least
        if grave and (not needle or needle in line["text"].casefold()):
            lines.append(line)
            if len(lines) == limit:
                break
    return lines


def read_last_lines(job: Job, count: int) -> list[dict[str, Any]]:
    """The last `count` lines at most, in order. One query, two where the last events hold few lines each."""
    if not job.log_lines:
        return []
    events = JobEvent.objects.filter(job=job, kind="log").order_by("-seq").values_list("payload", flat=True)
    payloads = list(events[:MAX_TAIL_EVENTS])
    if len(payloads) == MAX_TAIL_EVENTS and sum(len(payload["lines"]) for payload in payloads) < count:
        payloads += events[MAX_TAIL_EVENTS:count]
    lines = [
        build_log_line(payload["first"] + place, row)
        for payload in payloads[::-1]
        for place, row in enumerate(payload["lines"])
    ]
    return lines[-count:]


def iter_lines(job: Job, *, after: int = 0) -> Iterator[dict[str, Any]]:
    """Every line behind line `after`, in order."""
    for batch in iter_line_batches(job, after=after):
        yield from batch


def iter_line_batches(job: Job, *, after: int = 0) -> Iterator[list[dict[str, Any]]]:
    """The lines in batches of about LINES_PER_READ. Between two batches no cursor and no transaction is open, so a
    slow reader of a download may give its connection back.
    """
    events = JobEvent.objects.filter(job=job, kind="log").order_by("seq")
    seq, size = find_seq_before(events, after) if after else 0, EVENTS_PER_READ[0]
    while True:
        payloads = list(events.filter(seq__gt=seq).values_list("seq", "payload")[:size])
        if not payloads:
            return
        seq = payloads[-1][0]
        yield [
            build_log_line(payload["first"] + place, row)
            for _seq, payload in payloads
            for place, row in enumerate(payload["lines"])
            if payload["first"] + place > after
        ]
        if len(payloads) < size:
            return
        each = max(1, sum(len(payload["lines"]) for _seq, payload in payloads) // len(payloads))
        size = min(EVENTS_PER_READ[1], max(EVENTS_PER_READ[0], LINES_PER_READ // each))


def find_seq_before(events: models.QuerySet[JobEvent], after: int) -> int:
    """The number of the event before the one that holds line `after + 1`."""
    containing_seq = events.filter(payload__first__lte=after + 1).order_by("-seq").values_list("seq", flat=True).first()
    return (containing_seq or 1) - 1


def build_log_line(number: int, row: list[str]) -> dict[str, Any]:
    return {"number": number, "at": parse_timestamp(row[0]), "level": row[1], "text": row[2]}


def parse_timestamp(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def list_state_moves(job: Job, *, limit: int = 200) -> list[dict[str, Any]]:
    """The newest moves of the state, newest first, as templates/components/timeline.html reads them."""
    return build_timeline_rows(JobEvent.objects.filter(job=job, kind="state").order_by("-seq")[:limit])


def build_timeline_rows(events: Iterable[JobEvent]) -> list[dict[str, Any]]:
    """Moves of the state as rows of a timeline, in the order given."""
    return [
        {
            "state": event.payload["state"],
            "at": event.created_at,
            "title": JobState(event.payload["state"]).label,
            "text": translate_message(event.payload, "reason"),
            "attempt": event.attempt,
        }
        for event in events
    ]

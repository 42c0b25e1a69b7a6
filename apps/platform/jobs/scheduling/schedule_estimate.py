"""Estimate where, when and for how long a job would run before it is submitted; shown on its form."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.queries import free_as_dict, load_by_node
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.placement import (
    compute_free_capacity,
    describe_shortfall,
    explain_why_not,
    get_total_capacity,
)
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import choose_queue
from apps.platform.nodes.models import Node

MAX_JOBS_AHEAD = 100  # jobs ahead that are looked at; more are counted as "more than"
MAX_PAST_JOBS = 60  # past jobs of a kind
MAX_RECENT_JOBS = 300  # past jobs of any kind
MEDIAN_SAMPLE_SIZE = 20  # of these, the newest of about the same size
SAME_SIZE_FACTOR = 3.0  # a table up to so many times larger or smaller
MIN_SAME_SIZE_JOBS = 3  # of about the same size; with fewer every size counts


@dataclass(frozen=True, slots=True)
class PastDurations:
    """How long jobs of a kind took: the median in seconds of `count` of them.

    `same_size`: of about the same size; False: of other sizes; None where the size is not known or means nothing.
    """

    seconds: float
    count: int
    same_size: bool | None

    @property
    def words(self) -> str:
        if self.same_size:
            text = ngettext(
                "as long as the last one of this kind and size took",
                "median of the last %(count)d of this kind and size",
                self.count,
            )
        elif self.same_size is None:
            text = ngettext(
                "as long as the last one of this kind took",
                "median of the last %(count)d of this kind",
                self.count,
            )
        else:
            text = ngettext(
                "as long as the last one of this kind took, of another size",
                "median of the last %(count)d of this kind, of other sizes",
                self.count,
            )
        return text % {"count": self.count}


@dataclass(frozen=True, slots=True)
class ScheduleEstimate:
    """`state` chooses the sign; `wait_seconds` is None where it cannot be said, `past` where no job of the kind ended.

    `command` starts what is missing. `ahead` counts up to AHEAD_READ, and `behind` is the job directly ahead, where the
    reader may see it.
    """

    state: str
    sentence: str
    queue: str
    nodes: list[dict[str, Any]] = field(default_factory=list)
    ahead: int = 0
    predecessor: int | None = None
    wait_seconds: float | None = None
    past: PastDurations | None = None
    command: str = ""


NodeLoads = list[tuple[Node, list[Job], Job | None]]
"""Every node with the jobs that run on it, and the one that it is kept free for"""


def load_node_loads(actor: Actor) -> NodeLoads:
    """Load the state of all nodes that several estimates share: two queries."""
    nodes = list(Node.objects.visible_to(actor).with_status().order_by("name"))
    running, reserved_by_node = load_by_node(nodes)
    return [(node, running[node.pk], reserved_by_node.get(node.pk)) for node in nodes]


def estimate_schedule(
    actor: Actor,
    project: Project,
    kind: str,
    needs: Needs,
    *,
    priority: int = 0,
    size: int | None = None,
    node_loads: NodeLoads | None = None,
) -> ScheduleEstimate:
    """Estimate the schedule of a job of this kind if it were queued now; `size`: bytes of its inputs."""
    job = build_unsaved_job(kind, needs, priority)
    rows = [build_node_estimate(job, *load) for load in (load_node_loads(actor) if node_loads is None else node_loads)]
    online = filter_online_rows(job, rows)
    ahead: list[dict[str, Any]] = [
        dict(row) for row in query_jobs_ahead(job).values("pk", "kind", "project_id")[:MAX_JOBS_AHEAD]
    ]
    past = load_past_durations(actor, project, kind, size)
    state, sentence = evaluate_schedule(job, online, ahead, actor)
    return ScheduleEstimate(
        state=state,
        sentence=sentence,
        queue=job.queue,
        nodes=rows,
        ahead=len(ahead),
        predecessor=find_visible_predecessor(ahead, actor),
        wait_seconds=estimate_wait_seconds(actor, project, ahead, kind, past, online, nodes=job.need_nodes)
        if online
        else None,
        past=past,
        command="" if online else f"NODE_QUEUES={job.queue} python manage.py worker",
    )


def find_blocking_reason(kind: str, needs: Needs, node_loads: NodeLoads) -> str:
    """What would keep such a job from ever running, as the nodes are now, in a sentence; empty if nothing would."""
    job = build_unsaved_job(kind, needs, 0)
    state, sentence = evaluate_schedule(
        job, filter_online_rows(job, [build_node_estimate(job, *load) for load in node_loads]), [], None
    )
    return sentence if state in ("held", "failed") else ""


def build_unsaved_job(kind: str, needs: Needs, priority: int) -> Job:
    """The job as it would be queued; never saved."""
    return Job(kind=kind, queue=choose_queue(KINDS[kind], needs), priority=priority, **build_need_columns(needs))


def filter_online_rows(job: Job, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if job.queue in row["queues"] and row["online"]]


def build_need_columns(needs: Needs) -> dict[str, Any]:
    return {
        "need_cpus": needs.cpus,
        "need_memory_bytes": needs.memory_bytes,
        "need_gpus": needs.gpus,
        "need_gpu_memory_bytes": needs.gpu_memory_bytes,
        "need_nodes": needs.nodes,
        "need_extra": needs.extra,
        "need_labels": needs.labels,
    }


def build_node_estimate(job: Job, node: Node, running: list[Job], reserved_for: Job | None) -> dict[str, Any]:
    """What a node has free, why it does not take the job now ("" if it does), and how many such jobs it could hold."""
    online = bool(getattr(node, "online", False))
    return {
        "node": node.name,
        "online": online,
        "queues": node.queues,
        "free": free_as_dict(compute_free_capacity(node, running)),
        "why_not": explain_why_not(job, node, running, online=online, reserved_for=reserved_for),
        "never": describe_shortfall(job, get_total_capacity(node)),
        "at_once": int(node.cpus / job.need_cpus) if job.need_cpus > 0 else 1,
    }


def query_jobs_ahead(job: Job) -> QuerySet[Job]:
    """Queued jobs of any project that its queue would give out first; the one directly ahead comes first."""
    due = build_due_filter()
    queued = Job.objects.filter(due, state=JobState.QUEUED, queue=job.queue, priority__gte=job.priority)
    return queued.order_by("priority", "-pk")


def find_visible_predecessor(ahead: list[dict[str, Any]], actor: Actor) -> int | None:
    """Return the id of the job directly ahead, if the actor may see it."""
    if ahead and (actor.plane_role or ahead[0]["project_id"] in actor.project_ids):
        return int(ahead[0]["pk"])
    return None


def evaluate_schedule(
    job: Job, online: list[dict[str, Any]], ahead: list[dict[str, Any]], actor: Actor | None
) -> tuple[str, str]:
    """The state that chooses the sign, and one sentence: what would hold if all else were gone comes first."""
    params: dict[str, Any] = {"queue": job.queue}
    if not online:
        return "held", _("No node of the queue %(queue)s is online: it will wait until one is.") % params
    large = [row for row in online if not row["never"]]
    if job.need_nodes > 1 and (outcome := evaluate_gang_shortage(job, online, large)):
        return outcome
    if not large:
        params |= {"node": online[0]["node"], "why": online[0]["never"]}
        return "failed", _("No node of the queue %(queue)s is large enough: on %(node)s it %(why)s.") % params
    ready = [row for row in large if not row["why_not"]]
    if ahead:
        return "queued", describe_queue_position(ahead, find_visible_predecessor(ahead, actor) if actor else None)
    if len(ready) < job.need_nodes:
        busy = next(row for row in large if row["why_not"])
        params |= {"node": busy["node"], "why": busy["why_not"]}
        return "queued", _("It waits for room: %(node)s %(why)s.") % params
    if job.need_nodes > 1:
        ready.sort(key=lambda row: -row["free"]["cpus"])
        params |= {"count": job.need_nodes, "nodes": ", ".join(row["node"] for row in ready[: job.need_nodes])}
        return "succeeded", _("Runs at once on %(count)d nodes: %(nodes)s.") % params
    best = max(ready, key=lambda row: row["free"]["cpus"])
    params |= {"node": best["node"], "cpus": f"{best['free']['cpus']:g}"}
    params["memory"] = f"{best['free']['memory_bytes'] / 1e9:.1f}"
    return "succeeded", _(
        "Runs at once on %(node)s: %(cpus)s CPUs and %(memory)s GB of memory are free there."
    ) % params


def evaluate_gang_shortage(
    job: Job, online: list[dict[str, Any]], large: list[dict[str, Any]]
) -> tuple[str, str] | None:
    """What keeps a job over several nodes from starting if all else were gone: too few nodes, or too few large ones."""
    params: dict[str, Any] = {"queue": job.queue, "count": job.need_nodes}
    if len(online) < job.need_nodes:
        params["online"] = len(online)
        return "held", _(
            "It needs %(count)d nodes, and %(online)d of the queue %(queue)s are online: it will wait for more."
        ) % params
    if len(large) < job.need_nodes:
        small = next(row for row in online if row["never"])
        params |= {"large": len(large), "node": small["node"], "why": small["never"]}
        return "failed", _(
            "It needs %(count)d nodes, and %(large)d of the queue %(queue)s are large enough: on %(node)s it %(why)s."
        ) % params
    return None


def describe_queue_position(ahead: list[dict[str, Any]], predecessor: int | None) -> str:
    count = len(ahead)
    if count == MAX_JOBS_AHEAD:
        return _("Queued behind %(count)d jobs or more.") % {"count": count}
    if predecessor is None:
        text = ngettext("It waits in line behind %(count)d job.", "It waits in line behind %(count)d jobs.", count)
    else:
        text = ngettext(
            "It waits in line behind %(count)d job, #%(job)d.",
            "It waits in line behind %(count)d jobs, the last of them #%(job)d.",
            count,
        )
    return text % {"count": count, "job": predecessor}


def estimate_wait_seconds(
    actor: Actor,
    project: Project,
    ahead: list[dict[str, Any]],
    kind: str,
    past: PastDurations | None,
    online: Iterable[dict[str, Any]],
    *,
    nodes: int = 1,
) -> float | None:
    """Seconds until its turn, by what jobs of the kinds ahead took, as many at once as the nodes hold; a rough guess.

    `nodes`: that the job takes at once, as those ahead of it are taken to do.

    None where a kind ahead has no past, or where more are ahead than were looked at.
    """
    if len(ahead) == MAX_JOBS_AHEAD:
        return None
    medians = load_median_durations(actor, project) if ahead else {}
    total = 0.0
    for name, count in Counter(row["kind"] for row in ahead).items():
        seconds = past.seconds if past and name == kind else medians.get(name)
        if seconds is None:
            return None
        total += seconds * count
    return total / max(1, sum(row["at_once"] for row in online) // nodes)


def load_median_durations(actor: Actor, project: Project) -> dict[str, float]:
    """{kind: median seconds} of the newest jobs that succeeded here, whatever their kinds. One bounded query."""
    jobs = Job.objects.visible_to(actor).filter(project=project, state=JobState.SUCCEEDED, claimed_at__isnull=False)
    took: dict[str, list[float]] = defaultdict(list)
    for kind, begun, ended in jobs.order_by("-pk").values_list("kind", "claimed_at", "ended_at")[:MAX_RECENT_JOBS]:
        if begun and ended and len(took[kind]) < MEDIAN_SAMPLE_SIZE:
            took[kind].append((ended - begun).total_seconds())
    return {kind: median(seconds) for kind, seconds in took.items() if seconds}


def load_past_durations(actor: Actor, project: Project, kind: str, size: int | None) -> PastDurations | None:
    """The median of the newest jobs of this kind that succeeded here, of about this size where there are some."""
    inputs = JobInput.objects.filter(job=OuterRef("pk")).order_by().values("job").annotate(all=Sum("artifact__size"))
    jobs = (
        Job.objects.visible_to(actor)
        .filter(project=project, kind=kind, state=JobState.SUCCEEDED, claimed_at__isnull=False)
        .order_by("-pk")
        .annotate(size=Subquery(inputs.values("all")))
        .values_list("claimed_at", "ended_at", "size")[:MAX_PAST_JOBS]
    )
    took = [((ended - begun).total_seconds(), bytes_ or 0) for begun, ended, bytes_ in jobs if begun and ended]
    near = [
        seconds for seconds, bytes_ in took if size and size / SAME_SIZE_FACTOR <= bytes_ <= size * SAME_SIZE_FACTOR
    ]
    same = len(near) >= MIN_SAME_SIZE_JOBS
    chosen = (near if same else [seconds for seconds, _size in took])[:MEDIAN_SAMPLE_SIZE]
    return PastDurations(median(chosen), len(chosen), same if size else None) if chosen else None

"""What the pages of nodes say of jobs, which stand above nodes: queues, what runs there, what has ended there.

`{% load queues %}`. A job of a project that the reader is not in has its kind and its needs, never its name or number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import template
from django.db.models import F, Q
from django.template.context import Context
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.queues import Queue, get_samples_by_queue, list_queues
from apps.platform.jobs.states import OPEN_MEMBERS, JobState
from apps.platform.nodes.models import Node
from apps.platform.nodes.presenters import build_line
from apps.platform.nodes.samples import TimeWindow

register = template.Library()
RUNNING_SHOWN = 100
ENDED_SHOWN = 25
QUEUES_DRAWN = 8


def get_actor(context: Context) -> Actor:
    return context["request"].actor  # type: ignore[no-any-return]


def build_row(job: Job, actor: Actor) -> dict[str, Any]:
    return {"job": job, "mine": job.project_id in actor.project_ids}


@register.simple_tag(takes_context=True)
def queues_now(context: Context) -> list[dict[str, Any]]:
    """Every queue at a glance, the longest first, with whether its head is the reader's to see. Five queries."""
    actor = get_actor(context)
    queues = sorted(list_queues(actor), key=lambda queue: (-queue.queued, queue.name))
    return [{"queue": queue, "mine": is_own(queue, actor), "blocked": get_queue_state(queue)} for queue in queues]


def is_own(queue: Queue, actor: Actor) -> bool:
    return queue.head is not None and queue.head.project_id in actor.project_ids


def get_queue_state(queue: Queue) -> str:
    """The state that a queue wears: held where nobody serves it, even if nothing waits yet, or a job of it stands on an
    offline node, or its head can start nowhere now; queued where the head only waits its turn.
    """
    if not queue.nodes or queue.silent:
        return "held"
    if queue.head is None or queue.wait is None:
        return "succeeded"
    return "held" if all(row["why_not"] for row in queue.wait["nodes"]) else "queued"


@register.simple_tag(takes_context=True)
def queue_charts(context: Context, over: TimeWindow) -> list[dict[str, Any]]:
    """How many jobs waited, ran, and how long the oldest had waited, a line for each queue. One query."""
    samples = get_samples_by_queue(get_actor(context), over)
    busiest = sorted(
        samples, key=lambda name: -max((sample["queued"] + sample["running"] for _at, sample in samples[name]))
    )
    names = sorted(busiest[:QUEUES_DRAWN])
    charts = []
    for key, title, unit, take in (
        ("queued", _("Queued jobs"), _("jobs"), make_figure_reader("queued")),
        ("running", _("Running jobs"), _("jobs"), make_figure_reader("running")),
        ("oldest", _("Longest wait in the queue"), _("min"), make_figure_reader("oldest_seconds", 1 / 60)),
    ):
        series = [{"label": name, "points": build_line(samples[name], over, take)} for name in names]
        chart = {
            "id": f"queues-{key}",
            "series": series,
            "axis": "time",
            "span": (over.start.timestamp(), over.end.timestamp()),
            "x_unit": _("time"),
            "y_unit": unit,
            "holding": (0.0,),
            "whole": key != "oldest",
            "small": True,
        }
        charts.append({"key": key, "title": title, "chart": chart})
    return charts if names else []


def make_figure_reader(name: str, factor: float = 1.0) -> Callable[[Any], float]:
    """A queue in which nothing waits has waited for no time at all: no gap."""
    return lambda sample: (sample[name] or 0.0) * factor


@register.simple_tag(takes_context=True)
def list_running_jobs(context: Context, node: Node) -> list[dict[str, Any]]:
    """What runs on the node, the one that began first at the top. One query."""
    actor = get_actor(context)
    members = node.members.filter(state__in=OPEN_MEMBERS, attempt=F("job__attempt")).values("job")
    on_node = Q(node=node) | Q(pk__in=members)
    jobs = Job.objects.filter(on_node, state=JobState.RUNNING).select_related("project").order_by("claimed_at", "pk")
    return [build_row(job, actor) for job in jobs[:RUNNING_SHOWN]]


@register.simple_tag(takes_context=True)
def list_ended_jobs(context: Context, node: Node) -> list[dict[str, Any]]:
    """What ended there last, the newest first. One query, by the index job_ended_on."""
    actor = get_actor(context)
    jobs = Job.objects.filter(node=node, ended_at__isnull=False).select_related("project").order_by("-ended_at")
    return [build_row(job, actor) for job in jobs[:ENDED_SHOWN]]

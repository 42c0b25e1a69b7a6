"""Template context of each tab of the job page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.messages import translate_message
from apps.core.policy import is_allowed
from apps.core.request_values import MAX_INT32, parse_int
from apps.platform.jobs import queries
from apps.platform.jobs.checkpoints import get_checkpoint
from apps.platform.jobs.models import Job, JobParent
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.jobs.status.attempt_history import build_attempts, find_last_usage, list_attempt_events
from apps.platform.jobs.status.recent_metrics import load_recent_metrics
from apps.platform.jobs.status.recovery_actions import choose_recovery_actions
from apps.platform.jobs.status.verification_summary import find_verification
from apps.platform.nodes.health.conflicts import find_conflicts_in_log

TAIL_LINES = 200  # lines that the overview opens with; the rest is in the log's tab
LOG_PAGE = 500
CONTEXT_LINES = 50  # lines above the one that a link names
CHILDREN_SHOWN = 8
PARENTS_SHOWN = 50
MOVES_SHOWN = 30
LEVELS_OFFERED = ("warning", "error")

TabQuery = QueryDict | Mapping[str, str]


def build_overview_context(actor: Actor, job: Job) -> dict[str, Any]:
    moves, checkpoint = list_attempt_events(job), get_checkpoint(job)
    lines = queries.read_last_lines(job, TAIL_LINES)
    attempts = build_attempts(moves)
    may_retry, may_edit = is_allowed(actor, "job.retry", job), is_allowed(actor, "job.submit", job)
    children = JobParent.objects.filter(parent=job).select_related("child").order_by("child")
    links = list(children.defer("child__spec", "child__grant")[: CHILDREN_SHOWN + 1])
    return {
        "lines": lines,
        "conflicts": find_conflicts_in_log(line["text"] for line in lines) if job.state == JobState.FAILED else [],
        "timeline": queries.build_timeline_rows([move for move in moves if move.kind == "state"][:MOVES_SHOWN]),
        "measures": build_metric_rows(job),
        "checkpoint": checkpoint,
        "attempts": attempts,
        "usage": find_last_usage(attempts),
        "members": build_member_rows(job),
        "verification": find_verification(job.outputs.all()),
        "children": [link.child for link in links[:CHILDREN_SHOWN]],
        "more_children": len(links) > CHILDREN_SHOWN,
        "parents": list_awaited_parents(job),
        "remedy": choose_recovery_actions(job, checkpoint, may_retry=may_retry, may_edit=may_edit),
    }


def build_member_rows(job: Job) -> list[dict[str, Any]]:
    """Each node of the newest attempt of a job over several: its rank, name and state, and why it ended."""
    return [
        {
            "rank": member.rank,
            "node": member.node_name,
            "state": member.state,
            "label": MemberState(member.state).label,
            "why": translate_message(member.error or {}),
        }
        for member in queries.list_job_members(job)
    ]


def list_awaited_parents(job: Job) -> list[Job]:
    """The jobs that a waiting one waits for, those that have not succeeded first."""
    if job.state != JobState.WAITING:
        return []
    links = JobParent.objects.filter(child=job).select_related("parent").defer("parent__spec", "parent__grant")
    parents = [link.parent for link in links.order_by("parent")[:PARENTS_SHOWN]]
    return sorted(parents, key=lambda parent: parent.state == JobState.SUCCEEDED)


def build_metric_rows(job: Job) -> list[dict[str, Any]]:
    """Each metric with its newest value and the line of its values."""
    return [
        {"name": name, "value": points[-1][1], "values": [value for _step, value in points], "points": points}
        for name, points in load_recent_metrics(job).items()
    ]


def build_metrics_context(job: Job) -> dict[str, Any]:
    """A chart for each metric."""
    rows = build_metric_rows(job)
    for place, row in enumerate(rows):
        series = [{"label": row["name"], "points": row["points"]}]
        row["chart"] = {"series": series, "x_unit": _("step"), "y_unit": row["name"], "id": f"metric-{place}"}
    return {"measures": rows}


def build_spec_context(job: Job) -> dict[str, Any]:
    spec_values = json.loads(job.spec)
    return {
        "spec_text": json.dumps(spec_values, ensure_ascii=False, indent=2),
        "result_rows": flatten_spec(job.result or {}),
        "again": build_resubmit_body(job, spec_values),
    }


def build_resubmit_body(job: Job, spec_values: Any) -> dict[str, Any]:
    """The body of a POST that queues the same once more."""
    inputs = {
        job_input.slot: {"digest": job_input.artifact_id}
        if job_input.artifact_id
        else {"job": job_input.source_job_id, "slot": job_input.source_slot}
        for job_input in job.inputs.all()
    }
    needs = {
        "cpus": job.need_cpus,
        "memory_bytes": job.need_memory_bytes,
        "gpus": job.need_gpus,
        "gpu_memory_bytes": job.need_gpu_memory_bytes,
        "nodes": job.need_nodes,
    }
    body = {"kind": job.kind, "name": job.name, "spec": spec_values, "inputs": inputs, "register": job.register}
    limits = {"max_attempts": job.max_attempts, "time_limit_seconds": job.time_limit_seconds}
    return body | {"priority": job.priority, "needs": needs} | limits


def build_log_context(job: Job, params: TabQuery) -> dict[str, Any]:
    """A page of the log: from a line, or what contains `q` and is of `level` or graver, searched over all lines."""
    query, level = params.get("q", "")[:200], params.get("level", "")
    level = level if level in queries.LEVELS else ""
    line, after = parse_number_or_zero(params.get("line")), parse_number_or_zero(params.get("after"))
    if line:
        after = max(0, line - CONTEXT_LINES)
    searched = bool(query or level)
    at_end = not (line or searched or "after" in params)
    if at_end:
        after = max(0, job.log_lines - LOG_PAGE)  # the end is what one looks for
        lines = queries.read_last_lines(job, LOG_PAGE)
    else:
        lines = queries.search_log(job, after=after, limit=LOG_PAGE, query=query, level=level)
    full = len(lines) == LOG_PAGE and lines[-1]["number"] < job.log_lines
    return {
        "lines": lines,
        "query": query,
        "level": level,
        "searched": searched,
        "next_after": lines[-1]["number"] if full else None,
        "before": max(0, after - LOG_PAGE) if after and not searched else None,
        "at_end": at_end,
        "follow": not job.ended and not searched and not full,
    }


def get_first_line_url(job: Job, slug: str, level: str) -> str:
    """The address of the first line of this level or graver; where there is none, of the search that says so."""
    level = level if level in LEVELS_OFFERED else "error"
    lines = queries.search_log(job, limit=1, level=level)
    address = reverse("jobs:log", args=[slug, job.pk])
    return f"{address}?line={lines[0]['number']}#L{lines[0]['number']}" if lines else f"{address}?level={level}"


def parse_number_or_zero(text: str | None) -> int:
    """Parse a non-negative number from a query; 0 for anything else."""
    return parse_int(text, 0, MAX_INT32) or 0


def flatten_spec(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """A spec as rows: ("outliers / method", "iqr"). Lists of values stay one row."""
    if isinstance(value, dict) and value:
        return [row for key, child in value.items() for row in flatten_spec(child, f"{path} / {key}" if path else key)]
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return [row for index, entry in enumerate(value, 1) for row in flatten_spec(entry, f"{path} / {index}")]
    if isinstance(value, list):
        value = ", ".join(format_entry(entry, len(value) > 1) for entry in value)
    return [(path, value)]


def format_entry(entry: Any, has_several: bool) -> str:
    """A value of a list; in quotes only where it is empty, or its own comma would read as one between two values."""
    bare = isinstance(entry, str) and entry and not (has_several and "," in entry)
    return entry if bare else json.dumps(entry, ensure_ascii=False)

"""The status headline of a job page: progress, expected outputs, or the reason of a failure."""

from __future__ import annotations

import re
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.html import format_html
from apps.core.messages import translate_message
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

TAG = re.compile(r"<[^<>]*>")
WIDE = ("。", "，", "：", "；")


def summarize_status(job: Job, wait: dict[str, Any], duration: Any) -> SafeString:
    """Summarize the state of a job, figures in bold. `duration` formats seconds for display."""
    match job.state:
        case JobState.WAITING | JobState.QUEUED:
            return summarize_queued(job, wait)
        case JobState.RUNNING:
            return summarize_running(job, duration)
        case JobState.SUCCEEDED:
            return summarize_succeeded(job, duration)
        case JobState.FAILED:
            return summarize_failed(job)
    return summarize_cancelled(job)


def join_sentences(*parts: SafeString | str) -> SafeString:
    """The sentences that there are, with a space between them; a Chinese mark needs none behind it."""
    text = SafeString("")
    for part in filter(None, parts):
        space = "" if not text or TAG.sub("", text).endswith(WIDE) else " "
        text = format_html("{}{}{}", text, space, part)
    return text


def summarize_queued(job: Job, wait: dict[str, Any]) -> SafeString:
    if job.state == JobState.WAITING:
        head = _("Waits for another job.")
    elif wait.get("position"):
        head = ngettext("Queued behind %(n)s job.", "Queued behind %(n)s jobs.", wait["position"])
        head %= {"n": f"{wait['position']:,}"}
    else:
        head = _("Queued, first in line.")
    return join_sentences(format_html("<b>{}</b>", head), wait.get("summary", ""), describe_expected_outputs(job))


def summarize_running(job: Job, duration: Any) -> SafeString:
    if job.cancel_requested_at:
        return join_sentences(
            format_html("<b>{}</b>", _("Being cancelled.")),
            _("Its worker stops it within seconds; outputs that are not finished are removed."),
        )
    done = job.progress or {}
    where = {"node": job.node.name if job.node else "–"}
    if not done.get("total"):
        return join_sentences(
            format_html("<b>{}</b>", _("Running")), _("on %(node)s.") % where, describe_expected_outputs(job)
        )
    params = where | {"done": f"{done.get('done') or 0:,.0f}", "total": f"{done['total']:,.0f}"}
    params["unit"] = _(str(done.get("unit") or "")) if done.get("unit") else ""
    head = format_html("<b>{}</b> {}", _("Running:"), _("%(done)s of %(total)s %(unit)s on %(node)s.") % params)
    left = done.get("eta_seconds")
    rest = format_html("<b>{}</b>", _("%(time)s left.") % {"time": duration(left)}) if left else ""
    return join_sentences(head, rest, describe_expected_outputs(job))


def summarize_succeeded(job: Job, duration: Any) -> SafeString:
    took = duration(job.ended_at - job.claimed_at) if job.ended_at and job.claimed_at else ""
    head = format_html("<b>{}</b>", _("Done in %(time)s.") % {"time": took} if took else _("Done."))
    count = len(job.outputs.all())
    outputs_text = ngettext("It made %(n)s output", "It made %(n)s outputs", count) % {"n": count}
    name = job.register.get("dataset")
    if count and name:
        what = format_html("{}{}{}", outputs_text, _(", "), _("the table is a version of %(name)s.") % {"name": name})
        return join_sentences(head, what, summarize_cleaning(job))
    model = job.register.get("model")
    if count and model:
        return join_sentences(head, _("It registered a version of the model %(name)s.") % {"name": model})
    return join_sentences(head, outputs_text + _("."), summarize_cleaning(job))


def summarize_cleaning(job: Job) -> SafeString | str:
    """Summarize the result of a cleaning job."""
    result = job.result or {}
    filled, left = result.get("filled"), result.get("still_missing")
    if not isinstance(filled, dict) or not isinstance(left, dict):
        return ""
    params = {"filled": f"{sum(filled.values()):,}", "left": f"{sum(left.values()):,}"}
    return format_html("<b>{}</b>", _("%(filled)s values filled, %(left)s still missing.") % params)


def summarize_failed(job: Job) -> SafeString:
    error = job.error or {}
    tried = ngettext("after %(attempts)d attempt", "after %(attempts)d attempts", job.attempts_used)
    tried %= {"attempts": job.attempts_used}
    return join_sentences(
        format_html("<b>{}</b>", _("Failed %(tried)s:") % {"tried": tried}),
        translate_message(error) or _("no reason was given."),
        _("Nothing was registered."),
    )


def summarize_cancelled(job: Job) -> SafeString:
    head = format_html("<b>{}</b>", _("Cancelled."))
    return join_sentences(head, job.cancel_reason, _("Nothing was registered."))


def describe_expected_outputs(job: Job) -> str:
    """Describe the outputs that the job produces if it succeeds."""
    name = job.register.get("dataset")
    if name:
        return _("It will make a version of the dataset %(name)s.") % {"name": name}
    model = job.register.get("model")
    if model:
        return _("It will register a version of the model %(name)s.") % {"name": model}
    kind = KINDS.get(job.kind)
    if kind is None or not kind.outputs:
        return ""
    return _("It will make: %(outputs)s.") % {"outputs": ", ".join(kind.outputs)}

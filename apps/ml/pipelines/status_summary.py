"""The one sentence that a pipeline's page opens with: is it moving, how far; if it failed, at which step and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.core.html import format_html
from apps.core.messages import translate_message
from apps.ml.pipelines.queries import LoadedPipeline, PipelineSummary, find_first_failed
from apps.ml.pipelines.states import PipelineState
from apps.platform.jobs.states import JobState
from apps.platform.jobs.status.status_summary import join_sentences

MAX_RUNNING_NAMES = 3


def summarize_status(loaded: LoadedPipeline, duration: Callable[[Any], str]) -> SafeString:
    """The answer, its numbers in bold. `duration` writes seconds as people read them."""
    match loaded.summary.state:
        case PipelineState.RUNNING:
            return summarize_moving(loaded)
        case PipelineState.SUCCEEDED:
            return summarize_succeeded(loaded.summary, duration)
        case PipelineState.FAILED:
            return summarize_failed(loaded)
    return summarize_cancelled(loaded)


def summarize_moving(loaded: LoadedPipeline) -> SafeString:
    summary = loaded.summary
    if summary.cancelling and summary.cancelling == summary.moving:
        return join_sentences(
            render_bold(_("Being cancelled.")), _("The workers stop what runs within seconds; nothing else starts.")
        )
    if not (summary.running or summary.succeeded or summary.failed):
        waits = ngettext("%(n)s step waits.", "%(n)s steps wait.", summary.total) % {"n": summary.total}
        return join_sentences(render_bold(_("Queued:")), _("no step has started yet;"), waits)
    done = {"done": summary.succeeded, "total": summary.total}
    head = format_html("<b>{}</b> {}", _("Running:"), _("%(done)s of %(total)s steps are done.") % done)
    running = [step.name for step in loaded.steps if step.job.state == JobState.RUNNING]
    rest = []
    if running:  # by name alone: how far each is, changes beneath, where its row is kept up to date
        step_names = ", ".join(running[:MAX_RUNNING_NAMES]) + ("…" if len(running) > MAX_RUNNING_NAMES else "")
        rest.append(ngettext("%(steps)s runs.", "%(steps)s run.", len(running)) % {"steps": step_names})
    lost = find_first_failed(loaded.steps)
    if lost:
        rest.append(_("%(step)s has failed; only what does not need it goes on.") % {"step": lost.name})
    return join_sentences(head, *rest)


def summarize_succeeded(summary: PipelineSummary, duration: Callable[[Any], str]) -> SafeString:
    took = duration(summary.took) if summary.took else ""
    head = render_bold(_("Done in %(time)s.") % {"time": took} if took else _("Done."))
    steps = ngettext("%(n)s step has succeeded.", "All %(n)s steps have succeeded.", summary.total)
    return join_sentences(head, steps % {"n": summary.total})


def summarize_failed(loaded: LoadedPipeline) -> SafeString:
    step, summary = find_first_failed(loaded.steps), loaded.summary
    head = render_bold(_("Failed at %(step)s:") % {"step": step.name if step else "–"})
    error = (step.job.error if step else None) or {}
    return join_sentences(head, translate_message(error) or _("no reason was given."), count_succeeded(summary))


def summarize_cancelled(loaded: LoadedPipeline) -> SafeString:
    reasons = (step.job.cancel_reason for step in loaded.steps if step.job.state == JobState.CANCELLED)
    return join_sentences(
        render_bold(_("Cancelled.")),
        next((reason for reason in reasons if reason), ""),
        count_succeeded(loaded.summary),
    )


def count_succeeded(summary: PipelineSummary) -> str:
    counts = {"done": summary.succeeded, "total": summary.total}
    if not summary.succeeded:
        return _("None of its %(total)s steps has succeeded.") % counts
    return _("%(done)s of %(total)s steps had succeeded, and what they made is kept.") % counts


def render_bold(text: str) -> SafeString:
    return format_html("<b>{}</b>", text)

"""Shapes for the pages of labelling: progress, agreement, and marks drawn over their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from apps.core.html import format_html, format_html_join
from apps.core.messages import translate_message
from apps.ml.labelling.models import Annotation, LabellingProject, LabelServer, LabelTask
from apps.ml.labelling.states import FINAL_STATES, LabellingState, ServerState, TaskState

Row = dict[str, Any]
SERVER_COLOURS = {
    ServerState.UNCHECKED: "queued",
    ServerState.HEALTHY: "succeeded",
    ServerState.UNREACHABLE: "failed",
    ServerState.REFUSED: "failed",
}
STATE_COLOURS = {
    LabellingState.PREPARING: "running",
    LabellingState.IMPORTING: "running",
    LabellingState.LABELLING: "running",
    LabellingState.FAILED: "failed",
    LabellingState.CLOSED: "succeeded",
}
TASK_COLOURS = {
    TaskState.OPEN: "queued",
    TaskState.AGREED: "succeeded",
    TaskState.DISPUTED: "held",
    TaskState.RETURNED: "held",
    TaskState.ADJUDICATED: "succeeded",
    TaskState.SKIPPED: "queued",
}
SHOWN_CHARACTERS = 90


def describe_failure(failure: Mapping[str, Any]) -> str:
    """A recorded message in the reader's language; "" where there is none."""
    return translate_message(dict(failure)) if failure else ""


def list_server_rows(servers: Sequence[LabelServer]) -> list[Row]:
    return [
        {
            "server": server,
            "colour": SERVER_COLOURS[ServerState(server.state)],
            "failure": describe_failure(server.failure),
        }
        for server in servers
    ]


def list_labelling_rows(rows: Sequence[LabellingProject]) -> list[Row]:
    return [
        {
            "labelling": row,
            "colour": STATE_COLOURS[LabellingState(row.state)],
            "done": count_done(row),
            "share": format_share(count_done(row), row.tasks_count),
            "agreement": format_figure(row.agreement_value),
            "failure": describe_failure(row.failure),
        }
        for row in rows
    ]


def count_done(labelling: LabellingProject) -> int:
    counts = labelling.progress.get("tasks", {})
    return sum(counts.get(state.value, 0) for state in FINAL_STATES)


def is_finished(labelling: LabellingProject) -> bool:
    """Whether every task has a result or was skipped."""
    skipped = labelling.progress.get("tasks", {}).get(TaskState.SKIPPED.value, 0)
    done = count_done(labelling)
    return bool(done) and done + skipped >= labelling.tasks_count


def list_states(labelling: LabellingProject) -> list[Row]:
    """Tasks by state, in the order of the states; those that have none are left out."""
    counts = labelling.progress.get("tasks", {})
    return [
        {
            "state": state.value,
            "label": state.label,
            "colour": TASK_COLOURS[state],
            "count": counts[state.value],
            "share": format_share(counts[state.value], labelling.tasks_count),
        }
        for state in TaskState
        if counts.get(state.value)
    ]


def format_share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "–"


def format_figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def build_agreement(labelling: LabellingProject) -> Row | None:
    """The figures of the last measurement; None before the first."""
    figures = labelling.agreement
    if not figures:
        return None
    return {
        "value": format_figure(labelling.agreement_value),
        "fleiss": format_figure(figures.get("fleiss")),
        "tasks": figures.get("tasks", 0),
        "equal": figures.get("equal", 0),
        "is_below": bool(labelling.bar) and (labelling.agreement_value or 0) < labelling.bar,
        "labels": [{**row, "f1": format_figure(row["f1"])} for row in figures.get("labels", [])],
        "pairs": [
            {
                "annotators": " / ".join(row["annotators"]),
                "cohen": format_figure(row["cohen"]),
                "f1": format_figure(row["f1"]),
            }
            for row in figures.get("pairs", [])
        ],
    }


def list_annotator_rows(labelling: LabellingProject) -> list[Row]:
    """What each annotator did, with F1 against the others and against gold."""
    figures = labelling.agreement
    f1_by_annotator = {row["annotator"]: row["f1"] for row in figures.get("annotators", [])}
    gold = {row["annotator"]: row["f1"] for row in figures.get("gold", [])}
    names = dict(labelling.annotators.values_list("pseudonym", "name"))
    numbers = dict(labelling.groups.values_list("name", "number"))

    def find_figure(figures: dict[str, float | None], row: Row) -> str:
        """Of somebody who has marked tasks for several groups there is a figure for each group."""
        own = f"{row['annotator']}/{numbers.get(row['group'], '')}"
        return format_figure(figures.get(own, figures.get(row["annotator"])))

    return [
        {
            **row,
            "name": names.get(row["annotator"], ""),
            "f1": find_figure(f1_by_annotator, row),
            "gold": find_figure(gold, row),
        }
        for row in labelling.progress.get("annotators", [])
    ]


def list_task_rows(tasks: Sequence[LabelTask]) -> list[Row]:
    return [
        {
            "task": task,
            "number": task.number + 1,
            "colour": TASK_COLOURS[TaskState(task.state)],
            "text": shorten(str(task.data.get("text") or task.data.get("image", ""))),
        }
        for task in tasks
    ]


def shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"


def render_marked_text(text: str, marks: Mapping[str, Any] | None) -> str:
    """The text with each span in a `mark`, its label below; of overlapping spans the first is drawn."""
    parts: list[tuple[str]] = []
    at = 0
    for span in (marks or {}).get("spans", []):
        if span["start"] >= at:
            words = text[span["start"] : span["end"]]
            parts += [(text[at : span["start"]],), (format_html("<mark>{}<sub>{}</sub></mark>", words, span["label"]),)]
            at = span["end"]
    return format_html_join("", "{}", [*parts, (text[at:],)])


def describe_marks(task: LabelTask, marks: Mapping[str, Any] | None) -> Row:
    """Marks as a page shows them: the text in parts, relations in words, class and fields."""
    text = str(task.data.get("text", ""))
    spans = (marks or {}).get("spans", [])
    quote = [text[span["start"] : span["end"]] for span in spans]
    return {
        "text": render_marked_text(text, marks),
        "relations": [
            f"{quote[row['source']]} – {row['type']} → {quote[row['target']]}"
            for row in (marks or {}).get("relations", [])
        ],
        "class": (marks or {}).get("class", ""),
        "fields": sorted((marks or {}).get("fields", {}).items()),
        "is_empty": not marks,
    }


def list_annotation_rows(task: LabelTask, annotations: Sequence[Annotation]) -> list[Row]:
    return [
        {
            "annotation": row,
            "annotator": row.annotator.pseudonym,
            "group": row.group.name,
            "unknown": ", ".join(row.unknown),
            **describe_marks(task, row.marks),
        }
        for row in annotations
    ]


def describe_next_step(labelling: LabellingProject) -> str:
    """What the page says first: what is to be done now."""
    counts = labelling.progress.get("tasks", {})
    if labelling.state == LabellingState.PREPARING:
        return _("The tasks are being read from the source.")
    if labelling.state == LabellingState.IMPORTING:
        return _("Tasks are being imported into Label Studio.")
    if labelling.state == LabellingState.FAILED:
        return _("It failed: create another one once the source is mended.")
    if labelling.state == LabellingState.CLOSED:
        return _("It is closed.")
    if counts.get("disputed"):
        return _("Decide the disputed tasks.")
    if counts.get("open") or counts.get("returned"):
        return _("Annotators have tasks to mark in Label Studio.")
    if labelling.result_id is None:
        return _("Publish the result as a dataset version.")
    return _("Train on the result, or start the next level.")

"""Verdicts as text in the active language: one sentence on the outcome, one on its explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.ml.experiments.states import RunState
from apps.ml.reruns.states import Verdict

MAX_NAMED_INPUTS = 4  # differing inputs that a sentence names; one more is named too


def describe_outcome(document: Mapping[str, Any]) -> str:
    """Describe the outcome."""
    word, metrics, outputs = document["verdict"], document["metrics"], document["outputs"]
    if word == Verdict.IDENTICAL and outputs["differing"]:  # of the file of the figures
        return _("Every series, metric and output is the same; only timings differ.")
    if word == Verdict.IDENTICAL:
        return _("Every series, metric and output is the same by digest.")
    if word == Verdict.UNDECIDED:
        return _("All that was read lies within the tolerance, but there are more points than one request reads.")
    if word == Verdict.WITHIN_TOLERANCE:
        return " ".join([_("Every number lies within the tolerance."), *describe_bytes(outputs["differing"])])
    ends = document["ends"]
    if ends["was"] != ends["now"]:
        words = {side: RunState(state).label for side, state in ends.items()}
        return _("They ended differently: %(was)s, then %(now)s.") % words
    parts = []
    if metrics["different"]:
        parts.append(
            ngettext("%(count)s metric", "%(count)s metrics", metrics["different"]) % {"count": metrics["different"]}
        )
    figures = document["figures"]
    outside = figures.get(
        "outside", sum(not figure["within"] for figure in figures["items"])
    )  # an older one does not say
    if outside:
        parts.append(ngettext("%(count)s figure", "%(count)s figures", outside) % {"count": outside})
    if parts:
        return _("Outside the tolerance: %(what)s.") % {"what": _(", ").join(parts)}
    return _("They did not make the same outputs.")


def describe_bytes(count: int) -> list[str]:
    text = ngettext("%(count)s output differs in its bytes.", "%(count)s outputs differ in their bytes.", count)
    return [text % {"count": count}] if count else []


def explain_verdict(document: Mapping[str, Any]) -> str:
    """Explain the outcome by the inputs that differ."""
    inputs, lacking = document["inputs"], document["unrecorded"]
    if inputs:
        listed = (
            inputs if len(inputs) == MAX_NAMED_INPUTS + 1 else inputs[:MAX_NAMED_INPUTS]
        )  # to say "one more" is no shorter
        names = _(", ").join(format_input(item) for item in listed)
        more = len(inputs) - len(listed)
        text = _("Of what went in, this differs: %(what)s.") % {"what": names}
        return f"{text} {_('And %(count)s more.') % {'count': more}}" if more else text
    if lacking:
        return _("Nothing that was recorded differs; not recorded: %(what)s.") % {
            "what": _(", ").join(translate_kind(item) for item in lacking)
        }
    if document["unexplained"]:
        return _("No recorded input differs: the work is not deterministic.")
    return _("No recorded input differs.")


def format_input(difference: Mapping[str, str]) -> str:
    """ "package torch", "field seed of the spec", "data in the slot table"."""
    kind, name = difference["kind"], difference["name"]
    match kind:
        case "spec":
            return _("%(name)s in the spec") % {"name": name}
        case "data":
            return _("the data in %(name)s") % {"name": name}
        case "package":
            return name
    return translate_kind(kind)


def translate_kind(kind: str) -> str:
    labels = {
        "spec": _("spec"),
        "data": _("data"),
        "code": _("the engine's code"),
        "python": "Python",
        "package": _("package"),
        "platform": _("the operating system"),
        "processor": _("the processor"),
        "threads": _("the number of threads"),
        "gpu": _("the GPU"),
        "image": _("the image"),
        "node": _("node"),
        "cpus": _("CPUs"),
        "memory": _("memory"),
        "attempts": _("attempts"),
        "environment": _("the environment"),
    }
    return labels.get(kind, kind)


def add_labels(differences: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Differences with the word that a table shows."""
    return [
        {**difference, "word": format_input(difference), "kind_word": translate_kind(difference["kind"])}
        for difference in differences
    ]


def summarize_verdict(document: Mapping[str, Any]) -> str:
    return f"{describe_outcome(document)} {explain_verdict(document)}"

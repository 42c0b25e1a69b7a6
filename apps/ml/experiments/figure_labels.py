"""Translated labels of the baselines, intervals and latencies in a figures file.

The files keep the engine's English words, each one of a short list; what is not in the list is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

WORDS: Mapping[str, Promise | str] = {
    "last value": gettext_lazy("last value"),  # baselines
    "mean": gettext_lazy("mean"),
    "most frequent class": gettext_lazy("most frequent class"),
    "bootstrap": gettext_lazy("bootstrap"),  # how an interval was made
    "block bootstrap": gettext_lazy("block bootstrap"),
    "paired bootstrap": gettext_lazy("paired bootstrap"),
    "paired block bootstrap": gettext_lazy("paired block bootstrap"),
}


def translate_figure_word(word: object) -> str:
    """Translate the name of a baseline or of an interval method into the active language."""
    return str(WORDS.get(str(word), "" if word is None else word))


def format_latency_name(name: object) -> str:
    """What a latency is called by its key in the facts of a version: "batch 8"."""
    head, _space, rows = str(name).partition(" ")
    return _("batch %(rows)s") % {"rows": rows} if head == "batch" and rows.isdigit() else str(name)

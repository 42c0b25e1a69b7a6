"""What a running job calls its stages and counts, in the language of the page.

A report of progress keeps the engine's English, for every reader of the stream alike; a page translates it where it is
drawn. A new stage or unit of the engine is added here, or a page shows it as it was reported.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

STAGES: Mapping[str, Promise | str] = {
    "answer": pgettext_lazy("stage of a job", "answer"),
    "ask": pgettext_lazy("stage of a job", "ask"),
    "build": pgettext_lazy("stage of a job", "build"),
    "bundle": pgettext_lazy("stage of a job", "bundle"),
    "check": pgettext_lazy("stage of a job", "check"),
    "clean": pgettext_lazy("stage of a job", "clean"),
    "collect": pgettext_lazy("stage of a job", "collect"),
    "compare": pgettext_lazy("stage of a job", "compare"),
    "evaluate": pgettext_lazy("stage of a job", "evaluate"),
    "export": pgettext_lazy("stage of a job", "export"),
    "join": pgettext_lazy("stage of a job", "join"),
    "keep": pgettext_lazy("stage of a job", "keep"),
    "lower": pgettext_lazy("stage of a job", "lower"),
    "measure": pgettext_lazy("stage of a job", "measure"),
    "merge": pgettext_lazy("stage of a job", "merge"),
    "part": pgettext_lazy("stage of a job", "part"),
    "predict": pgettext_lazy("stage of a job", "predict"),
    "profile": pgettext_lazy("stage of a job", "profile"),
    "quantize": pgettext_lazy("stage of a job", "quantize"),
    "read": pgettext_lazy("stage of a job", "read"),
    "reduce": pgettext_lazy("stage of a job", "reduce"),
    "scan": pgettext_lazy("stage of a job", "scan"),
    "sensitivity": pgettext_lazy("stage of a job", "sensitivity"),
    "slice": pgettext_lazy("stage of a job", "slice"),
    "sleep": pgettext_lazy("stage of a job", "sleep"),
    "train": pgettext_lazy("stage of a job", "train"),
    "tune": pgettext_lazy("stage of a job", "tune"),
    "verify": pgettext_lazy("stage of a job", "verify"),
    "write": pgettext_lazy("stage of a job", "write"),
}
UNITS: Mapping[str, Promise | str] = {
    "calls": pgettext_lazy("counted by a job", "calls"),
    "devices": pgettext_lazy("counted by a job", "devices"),
    "files": pgettext_lazy("counted by a job", "files"),
    "forms": pgettext_lazy("counted by a job", "forms"),
    "images": pgettext_lazy("counted by a job", "images"),
    "kernels": pgettext_lazy("counted by a job", "kernels"),
    "layers": pgettext_lazy("counted by a job", "layers"),
    "models": pgettext_lazy("counted by a job", "models"),
    "pages": pgettext_lazy("counted by a job", "pages"),
    "parts": pgettext_lazy("counted by a job", "parts"),
    "rounds": pgettext_lazy("counted by a job", "rounds"),
    "rows": pgettext_lazy("counted by a job", "rows"),
    "slices": pgettext_lazy("counted by a job", "slices"),
    "steps": pgettext_lazy("counted by a job", "steps"),
    "tensors": pgettext_lazy("counted by a job", "tensors"),
    "texts": pgettext_lazy("counted by a job", "texts"),
    "trials": pgettext_lazy("counted by a job", "trials"),
}


def translate_stage(stage: object) -> str:
    """The stage in the language of now; as it was reported if it is none of ours."""
    return str(STAGES.get(str(stage), stage or ""))


def translate_unit(unit: object) -> str:
    """What is counted, in the language of now."""
    return str(UNITS.get(str(unit), unit or ""))


def build_label_tables() -> dict[str, dict[str, str]]:
    """Both lists as a script reads them, without what reads the same as it was reported."""
    lists = {"stage": STAGES, "unit": UNITS}
    return {
        key: {name: str(word) for name, word in labels.items() if str(word) != name} for key, labels in lists.items()
    }

"""Layout of the form of each job kind, and the labels of its registration fields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from apps.data.datasets.versions.manifest import JSON_LINES
from apps.platform.jobs.kinds import KINDS

REGISTRATION_FIELDS: dict[str, tuple[Promise, Promise, Promise]] = {
    "dataset": (
        gettext_lazy("Register as"),
        gettext_lazy("1 to 50 lower-case letters, digits and hyphens"),
        gettext_lazy("Dataset for the new version; created if it does not exist. Empty: outputs stay artifacts."),
    ),
    "model": (
        gettext_lazy("Register as"),
        gettext_lazy("1 to 50 lower-case letters, digits and hyphens"),
        gettext_lazy("Model for the new version; created if it does not exist. Empty: outputs stay artifacts."),
    ),
    "evaluation": (
        gettext_lazy("Evaluation set"),
        gettext_lazy("the name of a set, or of one revision of it"),
        gettext_lazy("What decides the figures is then the set's, and they become those of the version. Empty: none."),
    ),
    "version": (
        gettext_lazy("Model version"),
        gettext_lazy("the key of a version that a client registered"),
        gettext_lazy("The version that the predictions are of; its page fills this in. Empty: none."),
    ),
    "experiment": (
        gettext_lazy("Experiment"),
        gettext_lazy("an experiment's name"),
        gettext_lazy("Experiment of the run; created if it does not exist. Empty: Default."),
    ),
}
"""Where a job may register its outputs: label, limit and description of the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLayout:
    """How the form of a kind is arranged: pointers into its spec."""

    folded: frozenset[str] = frozenset()  # groups
    rare: frozenset[str] = frozenset()  # fields
    names: tuple[str, ...] = ()  # texts that are columns; of an entry of a list with /*
    picks: str = ""  # a list of texts that are columns
    categories: str = ""  # a list of texts that are columns of categories
    steps: str = ""  # a list of groups that pick columns of their own
    media_types: tuple[str, ...] = ()  # of the files that the first slot takes, where it is no table
    models: str = ""  # a text that names a version of a model
    images: str = ""  # a text that names a dataset version of images
    target: str = ""  # a text that is one of the table's columns
    first: tuple[str, ...] = ()  # what is asked before everything else, beside the table
    sections: tuple[tuple[Promise, tuple[str, ...]], ...] = ()  # headings and what stands below each
    resources: tuple[str, ...] = ()  # fields that stand below Resources, after what is asked of a node
    simple: tuple[str, ...] = ()  # fields that a plan of steps replaces


def group_kinds(kinds: Iterable[str]) -> list[dict[str, Any]]:
    """The kinds below their headings, those of no heading at the end of the last."""
    left = dict.fromkeys(kinds)
    groups = []
    for label, icon, keys in KIND_GROUPS:
        rows = [key for key in keys if key in left]
        left = {key: None for key in left if key not in rows}
        groups.append({"label": label, "icon": icon, "rows": rows})
    groups[-1]["rows"] += left
    return [
        group | {"rows": [{"key": key, "kind": KINDS[key]} for key in group["rows"]]}
        for group in groups
        if group["rows"]
    ]


def build_step_layout(layout: FormLayout, prefix: str, *, table: str, data: tuple[str, ...]) -> FormLayout:
    """The layout of a kind for a form in which its fields stand below `prefix`.

    `table`: the field there for the table; `data`: what comes first in the first section, that of the data.
    """

    def move(pointers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{prefix}{pointer}" if pointer.startswith("/") else table for pointer in pointers)

    sections = [(heading, move(pointers)) for heading, pointers in layout.sections]
    sections[0] = (sections[0][0], (*data, *sections[0][1]))
    return FormLayout(first=move(layout.first), sections=tuple(sections), resources=move(layout.resources))


RULED_OUT = {
    "forecast": ("features", "categories", "class_weights", "weights"),
    "regression": ("lags", "horizon", "class_weights", "weights"),
    "classification": ("lags", "horizon"),
}
"""By task: the fields of a spec that it has no use for. static/css/components.css hides them."""
KIND_GROUPS = (
    (gettext_lazy("Data"), "data", ("clean", "profile", "diff", "collect")),
    (gettext_lazy("Training"), "runs", ("train", "train_image", "train_language", "train_entities")),
    (gettext_lazy("Model"), "models", ("quantize", "compile", "export", "merge_adapter", "register")),
    (gettext_lazy("Evaluation"), "cols", ("evaluate", "evaluate_predictions", "predict")),
    (gettext_lazy("Other"), "jobs", ("script",)),
)
"""Headings, icons and kinds of the lists of kinds; a kind of none of them comes last."""
DATA, MODEL, TRAINING = gettext_lazy("Data"), gettext_lazy("Model"), gettext_lazy("Training")
SHARED_WORK = ("/strategy", "/processes", "/server_mode", "/servers", "/staleness", "/micro_batch")
SHARES = ("/validation_share", "/test_share")
LAYOUTS = {
    "clean": FormLayout(
        folded=frozenset({"/csv"}),
        rare=frozenset({"/expectations", "/partitions"}),
        first=("mode",),
        resources=("/processes", "/cluster"),
        picks="/columns",
        steps="/steps",
        simple=("/columns", "/window_size", "/fill", "/outliers"),
        names=(
            "/steps/*/column",
            "/steps/*/along",
            "/steps/*/conditions/*/column",
            "/steps/*/names/*/column",
        ),
    ),
    "collect": FormLayout(
        folded=frozenset({"/rate", "/robots", "/limits"}),
        rare=frozenset({"/user_agent", "/headers", "/time_zone", "/expectations", "/keep_bodies"}),
    ),
    "profile": FormLayout(folded=frozenset({"/csv"}), resources=("/processes",)),
    "diff": FormLayout(folded=frozenset({"/csv_before", "/csv_after"})),
    "train": FormLayout(
        folded=frozenset({"/schedule"}),
        rare=frozenset({"/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/weights", "/reference"}),
        names=("/target",),
        picks="/features",
        categories="/categories",
        target="/target",
        first=("inputs/table", "/task", "/target"),
        sections=(
            (DATA, ("/features", "/categories", "/lags", "/horizon", "/split", *SHARES)),
            (MODEL, ("/hidden", "/activation", "/dropout")),
            (TRAINING, ("/epochs", "/patience", "/schedule", "/class_weights")),
        ),
        resources=SHARED_WORK,
    ),
    "train_entities": FormLayout(
        media_types=(JSON_LINES, "application/jsonl", "application/json", "text/plain"),
        folded=frozenset({"/schedule"}),
        rare=frozenset({"/format", "/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/activation_checkpointing", "/vocabulary", "/buckets", "/token_dropout"}),
        first=("inputs/texts", "/labels"),
        sections=(
            (DATA, ("/other_labels", "/invalid", "/borders", "/too_long", "/max_length", *SHARES)),
            (MODEL, ("inputs/weights", "/width", "/layers", "/heads", "/dropout")),
            (TRAINING, ("/epochs", "/patience", "/schedule")),
        ),
        resources=SHARED_WORK,
    ),
    "train_image": FormLayout(
        folded=frozenset({"/schedule"}),
        rare=frozenset({"/classes", "/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/activation_checkpointing", "/cache_megabytes", "/on_broken"}),
        images="/images",
        first=("/images",),
        sections=(
            (DATA, ("/height", "/width", "/augmentation", *SHARES)),
            (MODEL, ("/backbone", "inputs/weights", "/dropout")),
            (TRAINING, ("/epochs", "/patience", "/schedule")),
        ),
        resources=SHARED_WORK,
    ),
    "train_language": FormLayout(
        media_types=(JSON_LINES, "application/jsonl", "application/json", "text/plain"),
        folded=frozenset({"/lora", "/schedule"}),
        rare=frozenset({"/chat_template", "/answer_tokens", "/weight_decay", "/seed", "/precision", "/device"})
        | frozenset({"/threads", "/activation_checkpointing", "/checkpoint_every"}),
        first=("inputs/texts", "/base"),
        sections=(
            (DATA, ("/max_length", "/too_long", *SHARES)),
            (MODEL, ("/method", "/lora")),
            (TRAINING, ("/epochs", "/patience", "/schedule", "/samples")),
        ),
        resources=SHARED_WORK,
    ),
    "quantize": FormLayout(
        rare=frozenset({"/dtype", "/runs", "/threads", "/confidence", "/seed", "/calibration_rows"})
        | frozenset({"/sensitivity_layers", "/sensitivity_rows"})
    ),
    "evaluate": FormLayout(
        rare=frozenset({"/group", "/places", "/positive", "/first_row", "/calibration_bins", "/replicates", "/seed"})
        | frozenset({"/horizon", "/runs", "/threads", "/confidence"}),
        names=("/slices/*/column", "/group"),
        images="/images",
    ),
    "evaluate_predictions": FormLayout(
        rare=frozenset({"/group", "/places", "/positive", "/first_row", "/calibration_bins", "/replicates", "/seed"})
        | frozenset({"/horizon", "/confidence"}),
        names=("/slices/*/column", "/group", "/target"),
        target="/target",
        first=("inputs/table", "/task", "/target"),
    ),
    "predict": FormLayout(
        folded=frozenset({"/csv"}),
        rare=frozenset({"/partitions"}),
        first=("inputs/table", "/model"),
        resources=("/processes", "/cluster"),
        picks="/keep",
        models="/model",
    ),
    "script": FormLayout(rare=frozenset({"/environment", "/table"}), resources=("/processes",)),
    "export": FormLayout(rare=frozenset({"/tolerance", "/seed"})),
    "compile": FormLayout(
        rare=frozenset({"/opt_level", "/length", "/tolerance", "/runs", "/threads", "/seed"}),
    ),
}

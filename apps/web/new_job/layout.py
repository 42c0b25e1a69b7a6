"""Layout of the form of each job kind, and the labels of its registration fields."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from apps.data.datasets.versions.manifest import JSON_LINES

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
    simple: tuple[str, ...] = ()  # fields that a plan of steps replaces


RULED_OUT = {
    "forecast": ("features", "categories", "class_weights", "weights"),
    "regression": ("lags", "horizon", "class_weights", "weights"),
    "classification": ("lags", "horizon"),
}
"""By task: the fields of a spec that it has no use for. static/css/components.css hides them."""
MODEL_SECTION = (gettext_lazy("Model"), ("/hidden", "/activation", "/dropout"))
LAYOUTS = {
    "clean": FormLayout(
        folded=frozenset({"/csv"}),
        rare=frozenset({"/expectations", "/processes", "/partitions"}),
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
    "profile": FormLayout(folded=frozenset({"/csv"}), rare=frozenset({"/processes"})),
    "diff": FormLayout(folded=frozenset({"/csv_before", "/csv_after"})),
    "train": FormLayout(
        rare=frozenset({"/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/server_mode", "/servers", "/staleness", "/weights", "/reference"}),
        names=("/target",),
        picks="/features",
        categories="/categories",
        target="/target",
        first=("/task", "/target"),
        sections=(
            (
                gettext_lazy("Data"),
                ("/features", "/categories", "/lags", "/horizon", "/split", "/validation_share", "/test_share", "/csv"),
            ),
            MODEL_SECTION,
            (
                gettext_lazy("Training"),
                ("/epochs", "/patience", "/schedule", "/class_weights", "/strategy", "/processes", "/micro_batch"),
            ),
        ),
    ),
    "train_entities": FormLayout(
        media_types=(JSON_LINES, "application/jsonl", "application/json", "text/plain"),
        rare=frozenset({"/format", "/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/strategy", "/processes", "/micro_batch", "/activation_checkpointing", "/vocabulary", "/buckets"})
        | frozenset({"/token_dropout", "/server_mode", "/servers", "/staleness"}),
    ),
    "train_image": FormLayout(
        rare=frozenset({"/classes", "/weight_decay", "/seed", "/precision", "/device", "/threads", "/checkpoint_every"})
        | frozenset({"/activation_checkpointing", "/cache_megabytes", "/micro_batch", "/on_broken"})
        | frozenset({"/server_mode", "/servers", "/staleness"}),
        images="/images",
    ),
    "train_language": FormLayout(
        media_types=(JSON_LINES, "application/jsonl", "application/json", "text/plain"),
        folded=frozenset({"/lora"}),
        rare=frozenset({"/chat_template", "/answer_tokens", "/weight_decay", "/seed", "/precision", "/device"})
        | frozenset({"/threads", "/activation_checkpointing", "/checkpoint_every"}),
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
    ),
    "predict": FormLayout(
        folded=frozenset({"/csv"}),
        rare=frozenset({"/processes", "/partitions"}),
        picks="/keep",
        models="/model",
    ),
    "script": FormLayout(rare=frozenset({"/environment", "/table"})),
    "export": FormLayout(rare=frozenset({"/tolerance", "/seed"})),
    "compile": FormLayout(rare=frozenset({"/tolerance", "/runs", "/threads", "/seed"})),
}

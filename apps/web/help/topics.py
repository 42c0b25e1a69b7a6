"""The manual that the plane serves: which topics there are, and which one belongs to a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.urls import ResolverMatch
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

MAX_TITLE_BYTES = 2_000  # of a document, in which its title stands
FIRST_TOPIC = "tour"

GROUPS: Mapping[str, tuple[Promise, tuple[str, ...]]] = {
    "begin": (_("Start here"), ("tour", "glossary", "client", "rest", "errors")),
    "data": (
        _("Data"),
        ("versions", "cleaning", "quality", "drift", "partitions", "collecting", "git", "labelling", "personal-data"),
    ),
    "training": (
        _("Training"),
        (
            "training",
            "image-models",
            "entity-models",
            "language-models",
            "distributed",
            "sweeps",
            "schedules",
            "runs",
            "reruns",
            "mlflow",
            "mlflow-search",
            "mlflow-models",
            "mlflow-import",
            "federation",
            "federation-studies",
        ),
    ),
    "models": (
        _("Models"),
        ("models", "evaluations", "approvals", "serving", "endpoints", "observations", "model-monitoring", "canary"),
    ),
    "fleet": (
        _("Fleet"),
        ("devices", "agent", "agent-install", "releases", "rollouts", "hawkbit", "edge", "recall", "transfer"),
    ),
    "plane": (
        _("The plane"),
        (
            "login",
            "separation",
            "audit",
            "lineage",
            "compliance",
            "security",
            "security-alarms",
            "retention",
            "nodes",
            "doctor",
            "isolation",
            "packages",
            "container-images",
            "snapshots",
            "notices",
            "monitoring",
            "install",
            "operations",
            "settings",
            "encryption",
        ),
    ),
}
"""Heading and topics of the index, in its order; a document that stands in no group is listed last."""

TOPIC_BY_NAMESPACE: Mapping[str, str] = {
    "accounts": "login",
    "access_history": "separation",
    "approvals": "approvals",
    "audit": "audit",
    "compliance": "compliance",
    "datasets": "versions",
    "devices": "devices",
    "emergency": "separation",
    "endpoints": "endpoints",
    "comments": "runs",
    "experiments": "runs",
    "federation": "federation-studies",
    "holds": "retention",
    "inbox": "notices",
    "isolation_nodes": "isolation",
    "jobs": "training",
    "labelling": "labelling",
    "labels": "security",
    "lineage": "lineage",
    "monitoring": "model-monitoring",
    "nodes": "nodes",
    "notices": "notices",
    "observations": "observations",
    "packages": "packages",
    "personal_data": "personal-data",
    "pipelines": "training",
    "plane_schedules": "schedules",
    "recalls": "recall",
    "recertification": "separation",
    "registry": "models",
    "releases": "releases",
    "reruns": "reruns",
    "rollouts": "rollouts",
    "schedules": "schedules",
    "security_alarms": "security-alarms",
    "snapshots": "snapshots",
    "sweeps": "sweeps",
    "transfer": "transfer",
}
TOPIC_BY_NAME: Mapping[str, str] = {
    "isolation": "isolation",
    "mfa_index": "login",
    "plane_personal_data": "personal-data",
    "usersessions_list": "login",
    "quality": "quality",
    "drift": "drift",
    "lineage": "lineage",
    "compare": "evaluations",
    "upload": "versions",
}
"""By the last part of an address's name; goes before its namespace."""
TOPIC_BY_KIND: Mapping[str, str] = {
    "clean": "cleaning",
    "collect": "collecting",
    "profile": "quality",
    "diff": "versions",
    "train_entities": "entity-models",
    "train_image": "image-models",
    "train_language": "language-models",
    "evaluate": "evaluations",
    "register": "models",
    "compile": "edge",
    "quantize": "edge",
}
"""By the kind of a new job."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A document of the manual."""

    key: str
    title: str


def get_docs_dir() -> Path:
    return Path(settings.DOCS_DIR)


@lru_cache(maxsize=1)
def load_topics() -> Mapping[str, Topic]:
    """Every document by its key, the name of its file; they change only with the plane's own version."""
    paths = sorted(get_docs_dir().glob("*.md"))
    return {path.stem: Topic(path.stem, read_title(path)) for path in paths}


def read_title(path: Path) -> str:
    """The first heading of a document, else its name."""
    with path.open("rb") as file:
        text = file.read(MAX_TITLE_BYTES).decode("utf-8", "replace")
    heading = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")
    return heading.replace("`", "") or path.stem


def list_groups() -> list[tuple[str, list[Topic]]]:
    """(heading, topics) of the index."""
    topics = dict(load_topics())
    groups = [(str(heading), [topics.pop(key) for key in keys if key in topics]) for heading, keys in GROUPS.values()]
    return [*groups, (str(_("More")), list(topics.values()))]


def find_topic(match: ResolverMatch | None) -> Topic | None:
    """The topic of the page at this address; None where the manual has none about it."""
    if match is None:
        return None
    name = (match.url_name or "").rpartition(":")[2]
    kind = TOPIC_BY_KIND.get(str(match.kwargs.get("kind", ""))) if name in ("new_job_of", "new_of") else None
    if name.startswith("new_job"):
        kind = kind or "training"
    key = kind or TOPIC_BY_NAME.get(name) or TOPIC_BY_NAMESPACE.get(match.namespace or "", "")
    return load_topics().get(key)

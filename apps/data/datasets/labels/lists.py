"""The lists of labels: projects, and the datasets of one."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.data.datasets.labels.queries import list_dataset_labels, list_project_labels
from apps.platform.accounts.models import Project
from apps.platform.accounts.security_labels import get_label_name, list_labels

PROJECTS = Listing(
    "project-labels",
    (
        Column("project", gettext_lazy("Project"), lambda row: row.slug, ("slug",)),
        Column("label", gettext_lazy("Security label"), lambda row: get_label_name(row.security_label)),
        Column("datasets", gettext_lazy("Labelled datasets"), lambda row: row.labelled_datasets, numeric=True),
    ),
    sort="project",
)
DATASETS = Listing(
    "dataset-labels",
    (
        Column("dataset", gettext_lazy("Dataset"), lambda row: row.name, ("name",)),
        Column("label", gettext_lazy("Security label"), lambda row: get_label_name(row.security_label)),
        Column("created_by", gettext_lazy("Created by"), lambda row: row.created_by),
    ),
    sort="dataset",
)


def build_projects_table(actor: Actor, params: QueryDict) -> ListTable:
    return build_label_table(PROJECTS, params, lambda: list_project_labels(actor))


def build_datasets_table(actor: Actor, project: Project, params: QueryDict) -> ListTable:
    return build_label_table(DATASETS, params, lambda: list_dataset_labels(actor, project))


def build_label_table(listing: Listing, params: QueryDict, rows: Any) -> ListTable:
    """The rows, those of one label where it is asked for."""
    label = read_filter_values(params, ("label",))["label"]
    names = list_labels()

    def query() -> Any:
        validate_choice("label", label, names)
        return rows().filter(security_label=names.index(label)) if label else rows()

    return build_table(
        listing,
        params,
        query,
        filters=[
            {
                "name": "label",
                "label": _("Security label"),
                "value": label,
                "choices": [("", _("Every label")), *((name, name) for name in names)],
            }
        ],
        transform_rows=add_names,
    )


def add_names(rows: Any) -> Any:
    listed = list(rows)
    for row in listed:
        row.label_name = get_label_name(row.security_label)
    return listed

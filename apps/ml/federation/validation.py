"""What the services of this app refuse: names, addresses, data that does not fit a study, states."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import RowPreview, get_single_table, get_version, read_preview
from apps.ml.federation.bundles import HOST
from apps.ml.federation.models import SiteStudy, Study
from apps.platform.accounts.models import SLUG, Project
from apps.platform.jobs.spec_validation import combine_errors
from deepseek.federated.spec import SERVER_NAME, SITE_NAME, ColumnRule, DataSchema
from deepseek.messages import N_, Message

TEXT_TYPES = ("string", "large_string", "dictionary", "date", "timestamp", "binary")
PORTS = (1, 65_535)


def check_slug(field: str, name: str) -> None:
    if not re.search(SLUG.regex, name):
        raise Invalid(
            "{name!r} cannot be a name here.",
            name=name[:60],
            code="bad_name",
            field=field,
            limit="1 to 50 lower-case letters, digits and hyphens, a letter or digit first",
            hint=N_("For instance heart-disease."),
        )


def check_site_name(name: str) -> None:
    if not re.fullmatch(SITE_NAME, name) or name == SERVER_NAME:
        raise Invalid(
            "{name!r} cannot be the name of a site.",
            name=name[:60],
            code="bad_name",
            field="name",
            limit="1 to 31 lower-case letters, digits and hyphens, a letter first; not server",
            hint=N_("For instance cleveland."),
        )


def check_address(host: str, port: int) -> None:
    if not is_host(host):
        raise Invalid(
            "{host!r} is no host.",
            host=host[:80],
            code="bad_host",
            field="host",
            limit=N_("a host name or an IP address"),
            hint=N_("Name the address at which sites reach this plane's network."),
        )
    if not PORTS[0] <= port <= PORTS[1]:
        raise Invalid("{port} is no port.", port=port, code="bad_port", field="port", limit="1 to 65535")


def is_host(host: str) -> bool:
    """Whether it is a host name or an address; with a colon only an IPv6 address, or no site could ever join."""
    if ":" not in host or not HOST.fullmatch(host):
        return HOST.fullmatch(host) is not None
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def require_study_state(study: Study, states: Collection[str]) -> None:
    """Raise Conflict `study_state` where a study is in none of the states."""
    if study.state not in states:
        raise Conflict(
            "The study {study} is {study_state}.",
            study=study.name,
            study_state=study.state,
            code="study_state",
            field="state",
            limit=", ".join(states),
        )


def require_site_study_state(row: SiteStudy, states: Collection[str]) -> None:
    """Raise Conflict `study_state` where the study of this site is in none of the states."""
    if row.state not in states:
        raise Conflict(
            "The study {study} is {study_state} here.",
            study=row.name,
            study_state=row.state,
            code="study_state",
            field="state",
            limit=", ".join(states),
        )


# -- data -----------------------------------------------------------------------------------------------------------
def check_data(actor: Actor, version: DatasetVersion, schema: DataSchema) -> None:
    """Raise Invalid naming every column of the schema that the table lacks or that cannot be what it is to be.

    Names and types are those that were measured; of a table that was not, those of its first rows, which are looked at
    in any case: a category without one of its values, or a number without a number, is of another meaning.
    """
    get_single_table(actor, version)
    preview = read_preview(actor, version)
    types = {str(column["name"]): str(column["dtype"]) for column in version.columns}
    names = list(types) or preview.columns
    if not names:
        raise Invalid(
            "The columns of {version} are not known.",
            version=version,
            code="columns_unknown",
            field="data",
            limit=N_("a table that was measured"),
            hint=N_("Measure the version, then choose it again."),
        )
    errors = [
        {"code": "column_unfit", "message": why, "field": f"data/{rule.name[:60]}", "limit": limit, "hint": HINT}
        for rule in schema.columns
        for why, limit in find_column_faults(rule, names, types, preview)
    ]
    if errors:
        raise combine_errors(errors)


HINT = N_("Make a version with the columns of the study, in its units, then choose that.")


def find_column_faults(
    rule: ColumnRule, names: Sequence[str], types: Mapping[str, str], preview: RowPreview
) -> list[tuple[Message, Any]]:
    """(message, limit) of what is wrong with one column; empty where nothing is."""
    limit = f"{rule.low} to {rule.high}" if rule.kind == "number" else ", ".join(rule.categories)[:200]
    if rule.name not in names:
        return [(Message("The table has no column {column!r}.", column=rule.name[:60]), limit)]
    dtype = types.get(rule.name, "")
    if rule.kind == "number" and dtype.startswith(TEXT_TYPES):
        message = Message(
            "The column {column!r} is of type {dtype}, and the study takes numbers.", column=rule.name[:60], dtype=dtype
        )
        return [(message, limit)]
    values = list_column_values(rule.name, preview)
    if values and not any(is_within(rule, value) for value in values):
        message = Message(
            "No value of the column {column!r} in the first {count} rows fits the study, for instance {example!r}.",
            column=rule.name[:60],
            count=len(preview.rows),
            example=values[0][:40],
        )
        return [(message, limit)]
    return []


def list_column_values(name: str, preview: RowPreview) -> list[str]:
    """The values of a column that are not missing, of the first rows."""
    if name not in preview.columns:
        return []
    place = preview.columns.index(name)
    return [value for row in preview.rows if place < len(row) and (value := row[place])]


def is_within(rule: ColumnRule, value: str) -> bool:
    if rule.kind == "category":
        return value.strip() in rule.categories
    try:
        number = float(value)
    except ValueError:
        return False
    low = -math.inf if rule.low is None else rule.low
    high = math.inf if rule.high is None else rule.high
    return math.isfinite(number) and low <= number <= high


def get_named_version(actor: Actor, project: Project, reference: str) -> DatasetVersion:
    """The dataset version that NAME:vN names. Raises Invalid for another shape, NotFound."""
    name, colon, number = reference.strip().partition(":v")
    if not colon or not name or not number.isdecimal():
        raise Invalid(
            "{reference!r} names no dataset version.",
            reference=reference[:80],
            code="bad_reference",
            field="data",
            limit="NAME:vN",
            hint=N_("For instance patients:v2."),
        )
    return get_version(actor, project, name, number)

"""The personal data that the plane itself stores of the people who use it: the inventory, as data.

A field that is not in it is found by `list_unlisted_fields`, which a test and the evidence of 8.1.4.11 call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.apps import apps
from django.db import models
from django.utils.translation import gettext_lazy as _

PERSONAL_NAME = re.compile(
    r"^(username|email|email_address|phone|mobile|first_name|last_name|full_name|ip|ip_address|user_agent"
    r"|client_user|remote_user|author)$"
)
"""Names of fields that are personal data wherever they stand."""
AUTHOR_NAME = re.compile(r"^(by|by_label|owner|person|actor|\w+_by|\w+_by_user|requester)$")
"""Names of fields that say which account did something."""
USER_TABLE = "accounts.User"
TECHNICAL_USER_FIELDS = frozenset({"password", "system_role", "theme"})
TEXT_FIELDS = (models.CharField, models.TextField, models.JSONField, models.BinaryField, models.GenericIPAddressField)


class PlaneTable(NamedTuple):
    """Fields of one table, why the plane has them and until when."""

    table: str  # app label and model, as Django names it
    fields: tuple[str, ...]
    data: Any  # lazily translated, as the two below
    purpose: Any
    retention: Any


ACCOUNT = _("as long as the account exists; accounts are disabled, not deleted, because the trail names them")
SESSION = _("until the session ends")
RECORD = _("as long as the record exists")
WITH_TRAIL = _("as long as the audit trail: at least six months by law")

PLANE_TABLES: tuple[PlaneTable, ...] = (
    PlaneTable(
        USER_TABLE,
        ("username", "name", "email", "time_zone", "language", "password_changed_from"),
        _("Name, mail address and preferences of an account; the address it last set its password from"),
        _("Tell people apart, send notices, show pages in their language"),
        ACCOUNT,
    ),
    PlaneTable("account.EmailAddress", ("email",), _("Mail address"), _("Log-in by the account library"), ACCOUNT),
    PlaneTable(
        "account.EmailConfirmation", (), _("Confirmation of a mail address"), _("None: mail log-in is off"), RECORD
    ),
    PlaneTable(
        "usersessions.UserSession",
        ("ip", "user_agent"),
        _("Address and browser of a session"),
        _("People see their sessions and end them"),
        SESSION,
    ),
    *(
        PlaneTable(
            f"axes.{name}",
            ("username", "ip_address", "user_agent"),
            _("Name, address and browser of a log-in or an attempt"),
            _("Lock accounts and addresses that guess passwords"),
            WITH_TRAIL,
        )
        for name in ("AccessAttempt", "AccessFailureLog", "AccessLog")
    ),
    PlaneTable(
        "audit.AuditRecord",
        ("actor",),
        _("Name and address of who acted"),
        _("Accountability: 8.1.4.3 asks who did what, when and from where"),
        WITH_TRAIL,
    ),
    PlaneTable(
        "repositories.Commit", ("author",), _("Name of the author of a commit"), _("History of a repository"), RECORD
    ),
    PlaneTable(
        "experiments.Run", ("client_user",), _("Name that a tracking client sends"), _("History of a run"), RECORD
    ),
    PlaneTable(
        "labelling.Annotator",
        ("remote_user",),
        _("Number of an annotator in Label Studio"),
        _("Agreement of annotators"),
        RECORD,
    ),
)


class InventoryRow(NamedTuple):
    """A table of the plane as the inventory shows it."""

    table: str
    fields: list[str]
    data: Any
    purpose: Any
    retention: Any


def list_plane_tables() -> list[InventoryRow]:
    """The listed tables, then every other table that names the account that did something."""
    listed = {row.table for row in PLANE_TABLES}
    rows = [InventoryRow(row.table, list(row.fields), row.data, row.purpose, row.retention) for row in PLANE_TABLES]
    for model in apps.get_models():
        names = list_account_fields(model)
        if names and model._meta.label not in listed:
            rows.append(
                InventoryRow(
                    model._meta.label,
                    names,
                    _("The account that did it, or that it is about"),
                    _("Accountability and rights"),
                    RECORD,
                )
            )
    return rows


def list_account_fields(model: type[models.Model]) -> list[str]:
    """Fields of a table that refer to an account or say its name."""
    return [
        field.name
        for field in model._meta.concrete_fields
        if is_account_reference(field) or (AUTHOR_NAME.fullmatch(field.name) and isinstance(field, models.CharField))
    ]


def is_account_reference(field: Any) -> bool:
    return bool(field.is_relation and field.related_model and field.related_model._meta.label == USER_TABLE)


def list_unlisted_fields() -> list[str]:
    """`table.field` of personal data that the inventory does not name; empty as it should be."""
    listed = {row.table: set(row.fields) for row in PLANE_TABLES}
    return sorted(
        f"{model._meta.label}.{name}"
        for model in apps.get_models()
        for name in iter_personal_fields(model)
        if name not in listed.get(model._meta.label, ())
    )


def iter_personal_fields(model: type[models.Model]) -> Iterator[str]:
    """Fields whose name says that they are personal data; of accounts every text that is not technical."""
    is_user = model._meta.label == USER_TABLE
    for field in model._meta.concrete_fields:
        if field.is_relation:
            continue
        is_text = is_user and isinstance(field, TEXT_FIELDS) and field.name not in TECHNICAL_USER_FIELDS
        if is_text or PERSONAL_NAME.fullmatch(field.name):
            yield field.name

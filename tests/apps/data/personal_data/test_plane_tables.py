"""The inventory of the plane's own tables against the models."""

from django.apps import apps

from apps.data.personal_data import plane_tables


def test_every_personal_field_is_listed():
    assert plane_tables.list_unlisted_fields() == []


def test_every_listed_field_is_there():
    for row in plane_tables.PLANE_TABLES:
        names = {field.name for field in apps.get_model(row.table)._meta.concrete_fields}
        assert set(row.fields) <= names, row.table


def test_a_field_that_is_not_listed_is_found(monkeypatch):
    monkeypatch.setattr(plane_tables, "PLANE_TABLES", plane_tables.PLANE_TABLES[1:])
    assert "accounts.User.email" in plane_tables.list_unlisted_fields()
    assert "datasets.Dataset" in {row.table for row in plane_tables.list_plane_tables()}

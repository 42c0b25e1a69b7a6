"""Several tables in one operation, there and back."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.db.migrations.operations import CreateModel
from django.db.migrations.state import ProjectState

from apps.core.db.create_models import CreateModels

OPERATION = CreateModels(
    [
        CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
        CreateModel(
            "Book",
            [("id", models.BigAutoField(primary_key=True)), ("shelf", models.ForeignKey("lib.Shelf", models.CASCADE))],
            {"indexes": [models.Index(fields=["shelf", "-id"], name="lib_book_shelf")]},
        ),
    ]
)
TABLES = {"lib_shelf", "lib_book"}


@pytest.mark.django_db(transaction=True)
def test_the_tables_come_and_go_together():
    before = ProjectState()
    _ = before.apps  # as the executor has it: classes are built already
    after = before.clone()
    OPERATION.state_forwards("lib", after)
    assert set(after.apps.all_models["lib"]) == {"shelf", "book"}
    with connection.schema_editor() as editor:
        OPERATION.database_forwards("lib", editor, before, after)
    assert set(connection.introspection.table_names()) >= TABLES
    with connection.cursor() as cursor:
        assert "lib_book_shelf" in connection.introspection.get_constraints(cursor, "lib_book")
    with connection.schema_editor() as editor:
        OPERATION.database_backwards("lib", editor, after, before)
    assert not TABLES & set(connection.introspection.table_names())

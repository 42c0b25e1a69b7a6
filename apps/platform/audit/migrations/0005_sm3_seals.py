from django.db import migrations, models

from apps.platform.audit.triggers import install, remove

COLUMNS = (("audit_auditrecord", "prev"), ("audit_auditrecord", "hash"), ("audit_chainhead", "hash"))


def widen(apps, schema_editor):
    """PostgreSQL changes its catalogue alone. SQLite holds no column to a length, and would copy the whole table."""
    if schema_editor.connection.vendor == "postgresql":
        for table, column in COLUMNS:
            schema_editor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar(80)")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_grant_changes")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(widen, migrations.RunPython.noop)],
            state_operations=[
                migrations.AlterField("auditrecord", "prev", models.CharField(max_length=80, null=True)),
                migrations.AlterField("auditrecord", "hash", models.CharField(max_length=80, null=True)),
                migrations.AlterField("chainhead", "hash", models.CharField(max_length=80)),
            ],
        ),
        migrations.RunPython(install, remove),
    ]

"""Make the trail append-only. Every later audit migration must end with `RunPython(install, remove)` as well:

on SQLite, adding a field or an index rebuilds the table, which drops its triggers silently.
"""

from django.db import migrations

from apps.platform.audit.triggers import install, plant_genesis, remove


def plant(apps, schema_editor):
    plant_genesis(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [
        migrations.RunPython(plant, migrations.RunPython.noop),
        migrations.RunPython(install, remove),
    ]

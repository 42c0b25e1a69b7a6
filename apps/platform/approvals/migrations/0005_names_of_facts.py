import re

from django.db import migrations

NAMES = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9a-f])")
ROWS = 1_000


def fill(apps, schema_editor):
    """The ids and digests in the facts of the approvals that are there. A migration of its own: PostgreSQL changes no
    table that has rows whose constraints it has not checked yet.
    """
    approvals, names = apps.get_model("approvals", "Approval"), apps.get_model("approvals", "FactName")
    rows = []
    for pk, project_id, facts in approvals.objects.values_list("pk", "project_id", "facts").iterator(chunk_size=200):
        rows += [names(approval_id=pk, project_id=project_id, key=key) for key in sorted(set(NAMES.findall(facts)))]
        if len(rows) >= ROWS:
            names.objects.bulk_create(rows, batch_size=ROWS, ignore_conflicts=True)
            rows = []
    names.objects.bulk_create(rows, batch_size=ROWS, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_fact_names")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]

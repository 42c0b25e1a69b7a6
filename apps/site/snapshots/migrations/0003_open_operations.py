from django.db import migrations, models


def end_doubled_operations(apps, schema_editor):
    """Of two that are open and of one kind, the later one ends: the constraints allow one."""
    operations = apps.get_model("snapshots", "SnapshotOperation")
    seen = set()
    for row in operations.objects.filter(state__in=("queued", "running")).order_by("id"):
        keys = {("snapshot", row.snapshot_id, row.kind)}
        if row.kind in ("create", "drill"):
            keys.add(("destination", row.destination, row.kind))
        if keys & seen:
            message = "Operation {number} of the same kind was open already."
            row.state, row.error = "failed", {"code": "snapshot_operation_open", "message": message}
            row.save(update_fields=["state", "error"])
        seen |= keys


class Migration(migrations.Migration):
    dependencies = [("snapshots", "0002_node_environments")]

    operations = [
        migrations.RunPython(end_doubled_operations, migrations.RunPython.noop, elidable=True),
        migrations.AddConstraint(
            model_name="snapshotoperation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ("create", "drill")), ("state__in", ("queued", "running"))),
                fields=("destination", "kind"),
                name="snapshot_operation_kind_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="snapshotoperation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("queued", "running"))),
                fields=("snapshot", "kind"),
                name="snapshot_operation_once",
            ),
        ),
    ]

from django.db import migrations, models
from django.utils import timezone


def end_doubled_operations(apps, schema_editor):
    """Of two that are open and of one kind, the later one ends: the constraints allow one."""
    operations, snapshots = apps.get_model("snapshots", "SnapshotOperation"), apps.get_model("snapshots", "Snapshot")
    error = {"code": "snapshot_operation_open", "message": "An operation of the same kind was open already."}
    seen = set()
    for row in operations.objects.filter(state__in=("queued", "running")).order_by("id"):
        keys = {("snapshot", row.snapshot_id, row.kind)}
        if row.kind in ("create", "drill"):
            keys.add(("destination", row.destination, row.kind))
        if keys & seen:
            row.state, row.error, row.ended_at = "failed", error, timezone.now()
            row.save(update_fields=["state", "error", "ended_at"])
            if row.kind == "create":  # or it would be waited for without end
                snapshots.objects.filter(pk=row.snapshot_id, state="pending").update(state="failed", error=error)
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

from django.db import migrations
from django.db.models import OuterRef, Subquery


def fill(apps, schema_editor):
    """The experiment and the start of the run of each metric. A migration of its own: PostgreSQL changes no table that
    has rows whose constraints it has not checked yet.
    """
    metrics, runs = apps.get_model("experiments", "Metric").objects, apps.get_model("experiments", "Run").objects
    run = runs.filter(pk=OuterRef("run_id"))
    metrics.update(
        experiment_id=Subquery(run.values("experiment_id")[:1]), started_at=Subquery(run.values("started_at")[:1])
    )


class Migration(migrations.Migration):
    dependencies = [("experiments", "0004_tracking")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop, elidable=True)]

import django.utils.timezone
from django.db import migrations, models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce


def fill(apps, schema_editor):
    """Every dataset was touched when its newest version was added, else when it was made."""
    datasets = apps.get_model("datasets", "Dataset").objects
    newest = apps.get_model("datasets", "DatasetVersion").objects.filter(
        dataset=OuterRef("pk"), number=OuterRef("versions_count")
    )
    datasets.update(touched_at=Coalesce(Subquery(newest.values("created_at")[:1]), models.F("created_at")))


class Migration(migrations.Migration):
    dependencies = [("datasets", "0002_version_by_digest")]
    operations = [
        migrations.AddField(
            model_name="dataset",
            name="touched_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddIndex(
            model_name="dataset",
            index=models.Index(fields=["project", "touched_at", "id"], name="dataset_by_change"),
        ),
        migrations.AddIndex(
            model_name="dataset",
            index=models.Index(fields=["project", "id"], name="dataset_by_age"),
        ),
        migrations.AddIndex(
            model_name="datasetversion",
            index=models.Index(fields=["dataset", "size", "id"], name="version_by_size"),
        ),
        migrations.AddIndex(
            model_name="datasetversion",
            index=models.Index(
                condition=models.Q(("rows__isnull", False)),
                fields=["dataset", "rows", "id"],
                name="version_by_rows",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]

import django.utils.timezone
from django.db import migrations, models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce


def fill(apps, schema_editor):
    """Every model was touched when its newest version was registered, else when it was made."""
    rows = apps.get_model("registry", "Model").objects
    newest = apps.get_model("registry", "ModelVersion").objects.filter(
        model=OuterRef("pk"), number=OuterRef("versions_count")
    )
    rows.update(touched_at=Coalesce(Subquery(newest.values("created_at")[:1]), models.F("created_at")))


class Migration(migrations.Migration):
    dependencies = [("registry", "0002_version_by_digest")]
    operations = [
        migrations.AddField(
            model_name="model",
            name="touched_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
        ),
        migrations.AddIndex(
            model_name="model",
            index=models.Index(fields=["project", "touched_at", "id"], name="model_by_change"),
        ),
        migrations.AddIndex(
            model_name="model",
            index=models.Index(fields=["project", "id"], name="model_by_age"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def fill(apps, schema_editor):
    """Every evaluation is of the version of its variant."""
    variants = apps.get_model("registry", "Variant").objects.filter(pk=OuterRef("variant"))
    apps.get_model("registry", "Evaluation").objects.update(version=Subquery(variants.values("version")[:1]))


class Migration(migrations.Migration):
    dependencies = [("registry", "0007_index_variant_manifest")]
    operations = [
        migrations.AddField(
            model_name="evaluation",
            name="version",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evaluations",
                to="registry.modelversion",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
    ]

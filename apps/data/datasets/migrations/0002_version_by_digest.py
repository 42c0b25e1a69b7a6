from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("datasets", "0001_initial")]
    operations = [
        migrations.AddIndex(
            model_name="datasetversion",
            index=models.Index(fields=["digest"], name="version_by_digest"),
        )
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0001_initial")]
    operations = [
        migrations.AddIndex(
            model_name="modelversion",
            index=models.Index(fields=["digest"], name="model_version_by_digest"),
        )
    ]

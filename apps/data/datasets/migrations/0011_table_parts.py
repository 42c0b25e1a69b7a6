from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("datasets", "0010_security_labels")]

    operations = [
        migrations.AddField("datasetversion", "parts", models.PositiveIntegerField(default=0, db_default=0)),
        migrations.AddField("datasetfile", "rows", models.BigIntegerField(null=True)),
    ]

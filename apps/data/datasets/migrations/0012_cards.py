from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("datasets", "0011_table_parts")]

    operations = [
        migrations.AddField("dataset", "card", models.TextField(blank=True, default="", db_default="")),
        migrations.AddField(
            "dataset", "keywords", models.CharField(blank=True, max_length=900, default="", db_default="")
        ),
    ]

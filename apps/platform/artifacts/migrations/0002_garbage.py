from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("artifacts", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="artifact",
            name="touched_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="Collected",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
            ],
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    """The reason as a message with its id and values; none was kept as a text in a release."""

    dependencies = [("notices", "0001_initial")]

    operations = [
        migrations.RemoveField("webhook", "state_reason"),
        migrations.AddField("webhook", "state_reason", models.JSONField(default=dict)),
    ]

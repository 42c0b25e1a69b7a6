import apps.platform.accounts.models
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_cache_table")]
    operations = [
        migrations.AddField(
            model_name="user",
            name="time_zone",
            field=models.CharField(
                blank=True, default="", max_length=64, validators=[apps.platform.accounts.models.known_zone]
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="user",
            name="language",
            field=models.CharField(
                blank=True, default="", max_length=10, validators=[apps.platform.accounts.models.known_language]
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="user",
            name="theme",
            field=models.CharField(
                blank=True, choices=[("light", "light"), ("dark", "dark")], default="", max_length=5
            ),
            preserve_default=False,
        ),
    ]

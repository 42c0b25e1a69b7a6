from datetime import timedelta

from django.db import migrations
from django.utils import timezone


def start_counting_today(apps, schema_editor):
    """Count the disuse of accounts from the day of the upgrade: before it nobody had to log in every 90 days."""
    today = timezone.now()
    users = apps.get_model('accounts', 'User').objects.filter(is_active=True, activated_at=None)
    users.filter(created_at__lt=today - timedelta(days=1)).update(activated_at=today)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0016_open_to_directory'),
    ]

    operations = [
        migrations.RunPython(start_counting_today, migrations.RunPython.noop, elidable=True),
    ]

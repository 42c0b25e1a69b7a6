from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('releases', '0002_sequence_floor'),
    ]

    operations = [
        migrations.AddField(
            model_name='release',
            name='provenance',
            field=models.TextField(blank=True, default=''),
            preserve_default=False,
        ),
    ]

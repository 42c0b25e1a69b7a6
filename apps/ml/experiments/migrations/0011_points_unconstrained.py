import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('experiments', '0010_senders'),
    ]

    operations = [
        migrations.AlterField(
            model_name='metricbucket',
            name='metric',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='buckets', to='experiments.metric'),
        ),
        migrations.AlterField(
            model_name='metricpoint',
            name='metric',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='points', to='experiments.metric'),
        ),
    ]

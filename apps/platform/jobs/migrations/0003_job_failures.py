from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0002_queue_samples")]
    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["project", "-ended_at"], name="job_failures"
            ),
        )
    ]

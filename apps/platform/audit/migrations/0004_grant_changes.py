from django.db import migrations, models
from django.db.models import Q

from apps.platform.audit.triggers import install, remove

GRANT_CHANGES = (
    "member.remove",
    "member.set_roles",
    "project.set_label",
    "service_account.create",
    "service_account.disable",
    "service_account.set_clearance",
    "user.create",
    "user.disable",
    "user.enable",
    "user.set_clearance",
    "user.set_expiry",
    "user.set_system_role",
)


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_verification_runs")]
    operations = [
        migrations.AddIndex(
            model_name="auditrecord",
            index=models.Index(
                fields=["object_type", "object_id", "id"],
                name="audit_grants",
                condition=Q(action__in=GRANT_CHANGES),
            ),
        ),
        migrations.RunPython(install, remove),
    ]

"""What an upgraded plane has behind it: its security administrators, and one-time passwords that are outstanding."""

from django.db import migrations
from django.db.models import Q
from django.utils import timezone

KINDS = {"user.create": "created", "user.reset_password": "password"}
SYSTEM, SECURITY, NOBODY = "system_admin", "security_admin", "an administrator"


def note_security_administrators(apps, schema_editor):
    """A confirmed row each: the operator's command line makes no first installation of this plane again.

    Not for other system roles: a plane without a security administrator has nobody yet who could confirm the first.
    """
    changes = apps.get_model("accounts", "CredentialChange").objects
    for user in apps.get_model("accounts", "User").objects.filter(system_role=SECURITY):
        if not changes.filter(user=user, kind="system_role").exists():
            about = {"by_label": "upgrade", "by_role": SYSTEM}
            done = {"confirmed_at": timezone.now(), "confirmed_label": "upgrade"}
            changes.create(user=user, kind="system_role", **about, **done)


def note_one_time_passwords(apps, schema_editor):
    """An unconfirmed row for every account whose one-time password somebody else may know.

    Only where a security administrator has ever chosen a password: nobody has taken over any other plane from the
    operator, whose first accounts stay as they are.
    """
    users = apps.get_model("accounts", "User").objects
    changes = apps.get_model("accounts", "CredentialChange").objects
    records = apps.get_model("audit", "AuditRecord").objects.filter(object_type="user", result="done")
    chosen = Q(must_change_password=False) | Q(password_changed_at__isnull=False)
    if not users.filter(chosen, system_role=SECURITY).exists():
        return
    people = set(users.values_list("pk", flat=True))
    for user in users.filter(must_change_password=True):
        if changes.filter(user=user, kind__in=KINDS.values(), confirmed_at=None).exists():
            continue
        made = records.filter(object_id=str(user.pk), action__in=KINDS).order_by("-pk").first()
        by = made.user_id if made is not None and made.user_id in people else None
        label = made.actor if made is not None else NOBODY
        kind = KINDS[made.action] if made is not None else "password"
        changes.create(user=user, kind=kind, by_id=by, by_label=label, by_role=SYSTEM)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_user_password_changed_from"), ("audit", "0001_initial")]
    operations = [
        migrations.RunPython(note_security_administrators, migrations.RunPython.noop),
        migrations.RunPython(note_one_time_passwords, migrations.RunPython.noop),
    ]

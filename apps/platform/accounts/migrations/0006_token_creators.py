"""Who created the tokens that are there: whom the audit trail names. None: the operator's command line, or unknown."""

from django.db import migrations

ACTIONS = ("token.create", "token.create_for_service_account")


def note_creators(apps, schema_editor):
    tokens = apps.get_model("accounts", "ApiToken").objects.filter(created_by=None)
    records = apps.get_model("audit", "AuditRecord").objects.filter(object_type="apitoken", result="done")
    people = set(apps.get_model("accounts", "User").objects.values_list("pk", flat=True))
    for token in tokens:
        made = records.filter(object_id=str(token.pk), action__in=ACTIONS).order_by("pk").first()
        if made is not None and made.user_id in people:
            tokens.filter(pk=token.pk).update(created_by_id=made.user_id)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_credential_changes"), ("audit", "0001_initial")]
    operations = [migrations.RunPython(note_creators, migrations.RunPython.noop)]

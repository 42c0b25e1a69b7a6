"""The people behind the service accounts that are there: who created the account or a token of it."""

from django.db import migrations


def note_holders(apps, schema_editor):
    holders = apps.get_model("accounts", "ServiceAccountHolder").objects
    for account in apps.get_model("accounts", "ServiceAccount").objects.exclude(created_by=None):
        holders.get_or_create(service_account=account, user_id=account.created_by_id, kind="created_account")
    tokens = apps.get_model("accounts", "ApiToken").objects.exclude(service_account=None).exclude(created_by=None)
    for token in tokens:
        holders.get_or_create(
            service_account_id=token.service_account_id, user_id=token.created_by_id, kind="created_token"
        )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_service_account_holders")]
    operations = [migrations.RunPython(note_holders, migrations.RunPython.noop)]

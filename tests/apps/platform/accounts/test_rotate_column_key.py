"""No secret lies plain in a column, and manage.py rotate_column_key encrypts all of them under a new key."""

from __future__ import annotations

import base64
import io

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pydantic import SecretStr

from apps.core.encryption.fields import list_encrypted_fields
from apps.core.errors import Refused
from apps.ml.labelling.models import LabelServer
from apps.ml.labelling.tokens import decrypt_token, encrypt_token
from apps.platform.accounts.services.column_keys import rotate_column_keys
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Webhook
from apps.platform.notices.webhook_secrets import decrypt_secret, encrypt_secret

pytestmark = [pytest.mark.django_db, pytest.mark.services]
TOKEN, SECRET, SEED = "label-token-4711", "whsec_webhook-4711", "JBSWY3DPEHPK3PXP"


@pytest.fixture
def secrets_in_columns(project, engineer):
    LabelServer.objects.create(
        project=project,
        name="ls",
        url="http://ls",
        token=encrypt_token(TOKEN),
        hook_secret=encrypt_token(SECRET),
        next_check_at=timezone.now(),
    )
    Webhook.objects.create(project=project, name="hook", url="http://hook", secret=encrypt_secret(SECRET))
    Authenticator.objects.create(user=engineer, type="totp", data={"secret": get_adapter().encrypt(SEED)})


def read_raw() -> str:
    texts = []
    with connection.cursor() as cursor:
        tables = {(model._meta.db_table, field.column) for model, field in list_encrypted_fields()}
        for table, column in sorted({*tables, ("mfa_authenticator", "data")}):
            cursor.execute(f"SELECT {column} FROM {table}")
            texts += [str(row[0]) for row in cursor.fetchall()]
    return "\n".join(texts)


def rotate() -> str:
    out = io.StringIO()
    call_command("rotate_column_key", stdout=out, stderr=out)
    return out.getvalue()


def use_key(settings, name: str) -> None:
    key = SecretStr(f"{name}:{base64.b64encode(name.encode().ljust(32)).decode()}")
    settings.ENV = settings.ENV.model_copy(update={"encryption_keys": [key]})


def test_no_secret_lies_plain_in_a_column(secrets_in_columns):
    raw = read_raw()
    assert raw.count("enc1:") == 4
    assert [secret for secret in (TOKEN, SECRET, SEED) if secret in raw] == []


def test_everything_is_encrypted_under_the_new_key(secrets_in_columns, settings):
    use_key(settings, "2026")
    assert "mfa.Authenticator.data: 1 encrypted" in rotate()
    assert read_raw().count("enc1:aes-256-gcm:2026:") == 4
    settings.SECRET_KEY = "not needed any more"
    server = LabelServer.objects.get()
    assert [decrypt_token(server.token), decrypt_token(server.hook_secret)] == [TOKEN, SECRET]
    assert decrypt_secret(Webhook.objects.get().secret) == SECRET
    assert get_adapter().decrypt(Authenticator.objects.get().data["secret"]) == SEED
    assert rotate() == "Everything was under the active key.\n"
    assert AuditRecord.objects.filter(action="plane.rotate_column_key").count() == 2


def test_what_no_key_decrypts_stays_and_is_reported(secrets_in_columns, settings):
    settings.SECRET_KEY = "another"
    before = read_raw()
    with pytest.raises(SystemExit) as ended:
        rotate()
    assert ended.value.code == 1
    assert read_raw() == before


def test_only_the_operator_may(actor_for, sysadmin):
    with pytest.raises(Refused):
        rotate_column_keys(actor=actor_for(sysadmin))

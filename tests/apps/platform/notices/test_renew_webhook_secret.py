import pytest

from apps.core.errors import Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Webhook
from apps.platform.notices.services import renew_webhook_secret
from apps.platform.notices.webhook_secrets import SecretUnreadable, build_signature, decrypt_secret


def test_the_new_one_replaces_the_old_at_once(create, secadmin, actor_for):
    webhook, first = create()
    _, second = renew_webhook_secret(actor=actor_for(secadmin), webhook=webhook)
    assert first != second == decrypt_secret(Webhook.objects.get().secret)
    assert AuditRecord.objects.filter(action="webhook.renew_secret").exists()


def test_it_survives_a_change_of_the_key_of_the_plane(create, settings):
    webhook, secret = create()
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10
    with pytest.raises(SecretUnreadable):
        decrypt_secret(webhook.secret)
    settings.SECRET_KEY_FALLBACKS = [former]
    assert decrypt_secret(webhook.secret) == secret


def test_the_signature_is_that_of_the_standard():
    """The example of Standard Webhooks' specification, as its libraries test it."""
    signature = build_signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_nobody_else_does(webhook, approver, actor_for):
    with pytest.raises(Refused):
        renew_webhook_secret(actor=actor_for(approver), webhook=webhook)

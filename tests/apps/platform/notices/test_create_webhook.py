import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.models import ChangeKind, CredentialChange
from apps.platform.audit.models import AuditRecord
from apps.platform.notices import validation
from apps.platform.notices.models import Webhook
from apps.platform.notices.webhook_secrets import PREFIX, decrypt_secret


def test_its_secret_is_given_once_and_kept_encrypted(create):
    webhook, secret = create()
    stored = Webhook.objects.get(pk=webhook.pk)
    assert secret.startswith(PREFIX)
    assert secret not in stored.secret
    assert decrypt_secret(stored.secret) == secret
    assert (stored.state, stored.host, stored.kinds) == ("enabled", "127.0.0.1:9", [])


def test_the_trail_holds_the_host_and_no_path(create):
    create()
    body = AuditRecord.objects.get(action="webhook.create").body
    assert '"host":"127.0.0.1:9"' in body
    assert "hooks/abc" not in body
    assert PREFIX not in body


def refuse(create, url) -> str:
    """The code with which the address is refused; nothing of it is repeated, for it may hold a password."""
    try:
        create(url=url, name=f"{len(url)}{url[:1]}")
    except Invalid as refusal:
        return f"{refusal.code} repeats it" if "secret" in f"{refusal} {refusal.hint}" else refusal.code
    return "taken"


def test_an_address_that_may_not_be_told_is_refused(create):
    codes = {
        "http://10.0.0.1/": "webhook_host_not_allowed",
        "http://127.0.0.1:10/": "webhook_host_not_allowed",
        "http://[::1]:9/": "webhook_host_not_allowed",
        "http://localhost:9/": "webhook_host_not_allowed",
        "ftp://127.0.0.1:9/": "webhook_url",
        "http://me:secret@127.0.0.1:9/": "webhook_url",
        "http://127.0.0.1:9/#there": "webhook_url",
        "http://127.0.0.1:9/\r\nX-Header: 1": "webhook_url",
        "http://127.0.0.1:9/\\..": "webhook_url",
        "http://127.0.0.1:99999/": "webhook_url",
        "http://127.0.0.1:9/" + "a" * 500: "webhook_url",
        "//127.0.0.1:9/": "webhook_url",
        "": "webhook_url",
    }
    answers = {url: refuse(create, url) for url in codes}
    assert answers == codes
    assert not Webhook.objects.exists()


def test_without_a_list_of_hosts_webhooks_are_off(create, settings):
    settings.NOTICE_HOSTS = []
    with pytest.raises(Conflict) as refusal:
        create()
    assert refusal.value.code == "webhooks_off"


def test_other_bad_values_are_named(create):
    create()
    with pytest.raises(Conflict) as taken:
        create()
    with pytest.raises(Invalid) as kind:
        create(name="b", kinds=["job.exploded"])
    with pytest.raises(Invalid) as name:
        create(name="two\nlines")
    assert (taken.value.code, kind.value.code, name.value.field) == ("name_taken", "unknown_notice_kind", "/name")


def test_a_project_has_so_many(create, monkeypatch):
    monkeypatch.setattr(validation, "MAX_WEBHOOKS", 1)
    create()
    with pytest.raises(Conflict) as refusal:
        create(name="b")
    assert refusal.value.code == "too_many_webhooks"


def test_only_the_security_administrator_does(create, engineer, approver, auditor, sysadmin, stranger, actor_for):
    for user in (engineer, approver, auditor, sysadmin):
        with pytest.raises(Refused):
            create(by=actor_for(user))
    with pytest.raises(NotFound):
        create(by=actor_for(stranger))


def test_not_with_credentials_that_another_has_set(create, secadmin, sysadmin):
    CredentialChange.objects.create(
        user=secadmin, kind=ChangeKind.PASSWORD, by=sysadmin, by_label="sysadmin", by_role="system_admin"
    )
    with pytest.raises(Refused) as refusal:
        create()
    assert refusal.value.code == "credentials_unconfirmed"

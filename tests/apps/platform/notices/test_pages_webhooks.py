from apps.platform.notices.models import Delivery, Webhook
from deepseek.messages import Message
from tests.apps.platform.notices.conftest import HOST

LIST = "/p/demo/webhooks"
FORM = {"name": "chat", "url": f"http://{HOST}/hooks/abc", "kinds": ["job.failed"]}


def text(answer) -> str:
    return answer.content.decode()


def test_the_secret_is_on_the_page_that_creates_it_and_on_no_other(hosts, project, secadmin, browser):
    client = browser(secadmin)
    made = client.post(LIST, FORM)
    assert "whsec_" in text(made)
    assert "no-store" in made["Cache-Control"]
    where = f"{LIST}/{Webhook.objects.get().pk}"
    assert "whsec_" not in text(client.get(where))
    assert "whsec_" in text(client.post(f"{where}/secret"))


def test_what_is_wrong_stands_beside_its_field(hosts, project, secadmin, browser):
    answer = browser(secadmin).post(LIST, FORM | {"url": "http://10.0.0.1/"})
    assert answer.status_code == 422
    assert 'id="id_url_error"' in text(answer)
    assert not Webhook.objects.exists()


def test_tested_changed_enabled_and_deleted(webhook, secadmin, browser):
    client, where = browser(secadmin), f"{LIST}/{webhook.pk}"
    assert "webhook.test" in text(client.post(f"{where}/test", follow=True))
    assert Delivery.objects.count() == 1
    assert client.post(where, FORM | {"name": "ops"}).status_code == 302
    assert "enabled already" in text(client.post(f"{where}/enable", follow=True))
    Webhook.objects.update(state="disabled")
    assert "Send a test" not in text(client.get(where))
    client.post(f"{where}/enable")
    assert (Webhook.objects.get().name, Webhook.objects.get().state) == ("ops", "enabled")
    client.post(f"{where}/delete", {"reason": "Not used."})
    assert not Webhook.objects.exists()


def test_members_see_the_host_and_no_form(webhook, engineer, browser):
    page = text(browser(engineer).get(f"{LIST}/{webhook.pk}"))
    assert HOST in page
    assert "hooks/abc" not in page
    assert "Send a test" not in page
    assert browser(engineer).post(LIST, FORM).status_code == 403


def test_why_it_is_disabled_is_read_in_the_language_of_the_reader(webhook, secadmin, browser):
    why = Message("{count} attempts in a row failed.", count=10)
    Webhook.objects.update(state="disabled", state_reason=why.as_fields())
    client = browser(secadmin)
    assert "10 attempts in a row failed." in text(client.get(f"{LIST}/{webhook.pk}"))
    client.cookies["django_language"] = "zh-hans"
    assert "连续 10 次尝试失败" in text(client.get(f"{LIST}/{webhook.pk}"))


def test_strangers_find_no_page(webhook, stranger, browser):
    assert browser(stranger).get(LIST).status_code == 404
    assert browser(stranger).get(f"{LIST}/{webhook.pk}").status_code == 404


def test_where_no_host_is_allowed_the_page_says_so(project, secadmin, browser):
    page = text(browser(secadmin).get(LIST))
    assert "NOTICE_HOSTS names no host" in page
    assert "New webhook" not in page

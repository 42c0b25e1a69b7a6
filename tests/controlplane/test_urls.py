from importlib import import_module

import pytest
from django.contrib.auth import get_user_model
from django.urls import URLPattern, get_resolver, resolve

from controlplane.env import BASE_DIR

pytestmark = pytest.mark.django_db
APPS = BASE_DIR / "apps"


def views_of(patterns):
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from views_of(pattern.url_patterns)


def test_addresses_of_every_app_are_included():
    served = set(views_of(get_resolver().url_patterns))
    modules = sorted(
        ".".join(("apps", *path.relative_to(APPS).with_suffix("").parts)) for path in APPS.glob("*/*/[au]*urls.py")
    )
    missing = {module: set(views_of(import_module(module).urlpatterns)) - served for module in modules}
    assert modules
    assert {module: views for module, views in missing.items() if views} == {}


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1", "/api/v1/nothing", "/api/v2/jobs", "/api/v1/projects/demo/nothing"]
)
def test_unknown_below_api_is_a_json_404(client, path):
    for ask in (client.get, client.post):
        answer = ask(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_unknown_elsewhere_is_a_page(web, engineer):
    answer = web(engineer).get("/nothing/here")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


MAIL_PATHS = [
    "email/",
    "confirm-email/",
    "confirm-email/k/",
    "password/reset/",
    "password/reset/key/1-k/",
    "login/code/confirm/",
]


def test_addresses_that_work_by_mail_are_closed(client, web, engineer):
    statuses = {
        (path, method): getattr(asker, method)(f"/accounts/{path}", {"email": "a@example.com"}).status_code
        for asker in (client, web(engineer))
        for path in MAIL_PATHS
        for method in ("get", "post")
    }
    assert statuses == dict.fromkeys(statuses, 404)


def test_the_trimmed_address_of_the_log_in_leads_to_the_account(client, web, engineer):
    assert web(engineer).get("/accounts/").headers["Location"] == "/account"
    assert client.get("/accounts/").headers["Location"] == "/accounts/login/?next=/accounts/"


def test_nobody_signs_up(client):
    client.post(
        "/accounts/signup/", {"username": "new", "password1": "x-9-long-enough", "password2": "x-9-long-enough"}
    )
    assert not get_user_model().objects.exists()


@pytest.mark.parametrize("name", ["400", "403", "404", "500"])
def test_the_last_resorts_exist(name):
    assert callable(get_resolver().resolve_error_handler(int(name)))


def test_the_language_may_be_chosen_before_logging_in(client):
    assert client.post("/i18n/setlang/", {"language": "zh-hans"}).status_code in {204, 302}
    assert not getattr(resolve("/i18n/setlang/").func, "login_required", True)

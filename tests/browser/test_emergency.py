"""Emergency access between two people, seen by a third, until its time is over; and by two printed keys."""

import json
import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, PATIENCE, list_wide_pages, replace_password, sign_in

SECRET, FIRST = "JBSWY3DPEHPK3PXP", "A furnace and two blue doors 5"
PEOPLE = {"asking": "", "second-keeper": "security_admin", "reader-of-the-trail": "auditor"}
MAKE = f"""
from allauth.mfa.totp.internal.auth import TOTP
from apps.platform.accounts.models import Membership, Project, User
project, _ = Project.objects.get_or_create(slug="emergency", defaults={{"name": "Emergency"}})
for name, role in {PEOPLE!r}.items():
    user = User(username=name, system_role=role, must_change_password=False)
    user.set_password({FIRST!r}); user.must_change_password = False; user.save()
    if name == "asking":
        Membership.objects.create(project=project, user=user, role="engineer")
    if name == "second-keeper":
        TOTP.activate(user, {SECRET!r})
"""
EXPIRE = """
from datetime import timedelta
from django.utils import timezone
from apps.platform.emergency.models import EmergencyGrant
from workers.housekeeping import expire_emergency_grants
EmergencyGrant.objects.filter(state="active").update(expires_at=timezone.now() - timedelta(seconds=1))
expire_emergency_grants()
"""
BY_KEYS = """
import json
from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.accounts.models import User
from apps.platform.emergency import services
operator = build_plane_actor(PlaneRole.OPERATOR)
keys = tuple(services.create_key(actor=operator, slot=slot) for slot in (1, 2))
grant, password = services.use_keys(actor=operator, person=User.objects.get(username="asking"), role="system_admin",
                                    reason="nobody can log in", hours=1, keys=keys)
print(json.dumps({"grant": grant.pk, "password": password}))
"""


@pytest.fixture
def enter(browser, plane, watch, run_code):
    """enter(name) -> a page of a browser of their own, signed in."""
    run_code(MAKE)
    contexts = []

    def open_page(name: str, password: str = FIRST):
        contexts.append(browser.new_context(base_url=plane))
        page = watch(contexts[-1].new_page(), answers=(403,))
        page.set_default_timeout(PATIENCE)
        page.goto("/")
        sign_in(page, name, password)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_two_people_lend_a_role_until_its_time_is_over(enter, run_code):
    asking = enter("asking")
    asking.goto("/emergency")
    form = asking.locator("form", has=asking.get_by_role("button", name="Request", exact=True))
    form.locator("select[name=role]").select_option("system_admin")
    form.locator("textarea[name=reason]").fill("The furnace is down")
    form.get_by_role("button", name="Request", exact=True).click()
    asking.wait_for_url("**/emergency/*")
    address = asking.url
    expect(asking.get_by_role("link", name="Confirm")).to_have_count(0)  # never by who asked
    expect(asking.locator("[data-emergency]")).to_have_count(0)

    keeper = enter("second-keeper")
    keeper.get_by_label("Code of your authenticator app").fill(
        format_hotp_value(hotp_value(SECRET, int(time.time()) // 30))
    )
    with keeper.expect_navigation():
        keeper.locator("main form button").first.click()
    keeper.goto("/notices")
    expect(keeper.locator("#main")).to_contain_text("asking asks for emergency access")
    keeper.goto(address)
    keeper.get_by_role("button", name="Confirm", exact=True).first.click()
    keeper.get_by_role("dialog").get_by_role("button", name="Confirm", exact=True).click()
    expect(keeper.locator("[data-emergency]")).to_contain_text("asking has emergency access")

    asking.goto("/p/emergency/")
    expect(asking.locator("[data-emergency]")).to_contain_text("You act with emergency access")
    asking.goto("/people")
    expect(asking.locator("h1")).to_be_visible()
    assert list_wide_pages(asking, ["/emergency", address]) == []

    auditor = enter("reader-of-the-trail")
    expect(auditor.locator("[data-emergency]")).to_contain_text("asking has emergency access")
    run_code(EXPIRE)
    asking.goto("/p/emergency/")
    expect(asking.locator("[data-emergency]")).to_have_count(0)
    assert asking.goto("/people").status == 403
    auditor.goto(address)
    expect(auditor.locator("#main")).to_contain_text("Expired")
    for action in ("emergency.request", "emergency.confirm", "emergency.expire"):
        auditor.goto(f"/audit?action={action}")
        expect(auditor.locator(".tline > li").first).to_contain_text("The furnace is down")

    printed = json.loads(run_code(BY_KEYS))
    asking = enter("asking", printed["password"])  # every session before has ended
    replace_password(asking, printed["password"])
    if "login" in asking.url:
        sign_in(asking, "asking", PASSWORD)
    asking.goto(f"/emergency/{printed['grant']}")
    expect(asking.locator("[data-emergency]")).to_contain_text("You act with emergency access")
    expect(asking.locator("#main")).to_contain_text("two printed keys")
    asking.get_by_role("button", name="End now").first.click()
    asking.get_by_role("dialog").get_by_label("Reason").fill("It is up again")
    asking.get_by_role("dialog").get_by_role("button", name="End now").click()
    expect(asking.locator("[data-emergency]")).to_have_count(0)

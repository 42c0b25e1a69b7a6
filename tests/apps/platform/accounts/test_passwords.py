"""What a new password must be, and when an old one is replaced."""

from datetime import timedelta

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils import timezone

from apps.platform.accounts.actors import build_actor_for_user
from apps.platform.accounts.models import FormerPassword, User
from apps.platform.accounts.services import reset_password

CHANGE = "/accounts/password/change/"
GOOD = ["Larch and 2 tall poplars", "Larch and 3 tall poplars", "Larch and 4 tall poplars"]


def find_faults(password: str, user: User) -> set[str]:
    try:
        validate_password(password, user)
    except ValidationError as failure:
        return {each.code for each in failure.error_list}
    return set()


def test_each_rule_by_itself(engineer, sysadmin):
    engineer.name, engineer.email = "Wilhelmina Quist", "tulipan@example.org"
    wanted = {
        "Larch and 2 tall poplars": set(),
        "Larch 2 oak!": set(),
        "Larch 2 oak": {"password_too_short"},
        "larch and 2 tall poplars": {"password_classes"},
        "Larchand2tallpoplars": {"password_classes"},
        "The engineer has 2 keys": {"password_name"},
        "2 reenigne of Utrecht": {"password_name"},
        "Wilhelmina's 2 tall poplars": {"password_name"},
        "Tulipan's 2 tall poplars": {"password_name"},
        "": {"password_too_short", "password_classes"},
    }
    assert {text: find_faults(text, engineer) for text in wanted} == wanted
    assert "password_too_common" in find_faults("password123", engineer)
    assert find_faults("Larch 2 oak!", sysadmin) == {"password_too_short"}


def test_the_figures_are_settings(engineer, settings):
    settings.PASSWORD_MIN_LENGTH, settings.PASSWORD_CLASSES = 8, 1
    assert find_faults("larchoak", engineer) == set()
    settings.PASSWORD_MIN_LENGTH = 30
    assert find_faults(GOOD[0], engineer) == {"password_too_short"}


def choose(client, old, new):
    return client.post(CHANGE, {"oldpassword": old, "password1": new, "password2": new})


def test_the_last_few_are_not_chosen_again(engineer, web, password, settings, sysadmin_actor):
    settings.PASSWORD_HISTORY = 2
    client, present = web(engineer), password
    for new in GOOD:
        assert choose(client, present, new).status_code == 302, new
        present = new
    assert "You had this password before" in choose(client, present, GOOD[1]).content.decode()
    assert GOOD[0] not in "".join(FormerPassword.objects.values_list("password", flat=True))
    reset_password(actor=sysadmin_actor, user=engineer)
    engineer.refresh_from_db()
    assert find_faults(GOOD[2], engineer) == {"password_used_before"}  # a reset forgets nothing
    assert find_faults(GOOD[0], engineer) == set()


def test_an_old_password_is_replaced_at_the_next_log_in(engineer, web, client, password):
    here = web(engineer)
    User.objects.filter(pk=engineer.pk).update(password_changed_at=timezone.now() - timedelta(days=91))
    client.post("/accounts/login/", {"login": engineer.username, "password": password})
    assert client.get("/account").headers["Location"] == CHANGE
    assert client.get("/api/v1/me").json()["error"]["code"] == "password_change_required"
    assert "Your password is too old" in client.get(CHANGE).content.decode()
    assert choose(client, password, GOOD[0]).status_code == 302
    assert client.get("/account").status_code == 200
    assert here.get("/account").status_code == 302  # a new password ends the other sessions


@pytest.mark.parametrize(("days", "age", "status"), [(90, 89, 200), (0, 4000, 200), (30, 31, 302)])
def test_the_age_is_a_setting(engineer, web, settings, days, age, status):
    settings.PASSWORD_MAX_AGE_DAYS = days
    User.objects.filter(pk=engineer.pk).update(password_changed_at=timezone.now() - timedelta(days=age))
    assert web(engineer).get("/account").status_code == status


def test_a_person_without_a_password_here_has_none_that_expires(engineer, web):
    engineer.set_unusable_password()
    engineer.must_change_password = False
    engineer.password_changed_at = timezone.now() - timedelta(days=400)
    engineer.save()
    assert web(engineer).get("/account").status_code == 200


def test_tokens_and_jobs_do_not_stop(engineer, api):
    User.objects.filter(pk=engineer.pk).update(password_changed_at=timezone.now() - timedelta(days=400))
    assert api(engineer).get("/api/v1/me").status_code == 200
    assert not build_actor_for_user(User.objects.get(pk=engineer.pk)).is_anonymous

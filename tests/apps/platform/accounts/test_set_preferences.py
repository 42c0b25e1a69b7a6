from datetime import UTC, datetime

import pytest
from django.conf import settings

from apps.core.errors import Invalid, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.platform.accounts.models import User
from apps.platform.accounts.services import set_preferences


def test_zone_language_and_theme_are_kept(engineer, actor_for, records):
    set_preferences(actor=actor_for(engineer), time_zone="Asia/Shanghai", language="zh-hans", theme="dark")
    engineer.refresh_from_db()
    assert (engineer.time_zone, engineer.language, engineer.theme) == ("Asia/Shanghai", "zh-hans", "dark")
    assert records("user.set_preferences")[0]["after"]["time_zone"] == "Asia/Shanghai"


def test_the_same_again_leaves_no_record(engineer, actor_for, records):
    set_preferences(actor=actor_for(engineer))
    assert records("user.set_preferences") == []


@pytest.mark.parametrize(
    ("field", "value"), [("time_zone", "Mars/Olympus"), ("time_zone", "../etc"), ("language", "tlh"), ("theme", "pink")]
)
def test_what_there_is_not_is_named(field, value, engineer, actor_for):
    with pytest.raises(Invalid) as caught:
        set_preferences(actor=actor_for(engineer), **{field: value})
    assert caught.value.field == f"/{field}"


def test_no_person_no_preferences(worker_actor):
    with pytest.raises(Refused):
        set_preferences(actor=worker_actor, time_zone="UTC")


@pytest.fixture
def version(project):
    dataset = Dataset.objects.create(project=project, name="wti", versions_count=1, created_by="x")
    facts = {"manifest": "{}", "media_type": "text/csv", "size": 5, "created_by": "x", "digest": "0" * 64}
    version = DatasetVersion.objects.create(dataset=dataset, number=1, **facts)
    DatasetVersion.objects.update(created_at=datetime(2025, 3, 1, 23, 30, tzinfo=UTC))
    return version


@pytest.mark.parametrize(("zone", "shown"), [("", "2025-03-01 23:30"), ("Asia/Shanghai", "2025-03-02 07:30")])
def test_times_of_a_page_are_in_the_zone_without_script(zone, shown, engineer, web, version):
    User.objects.filter(pk=engineer.pk).update(time_zone=zone)
    assert f">{shown}</time>" in web(engineer).get("/p/demo/").content.decode()


def test_the_next_reader_has_the_planes_zone_again(engineer, viewer, web, version):
    User.objects.filter(pk=engineer.pk).update(time_zone="Asia/Shanghai")
    web(engineer).get("/p/demo/")
    assert ">2025-03-01 23:30</time>" in web(viewer).get("/p/demo/").content.decode()


def test_programs_get_the_same_whoever_asks(engineer, web, version):
    User.objects.filter(pk=engineer.pk).update(time_zone="Asia/Shanghai")
    answer = web(engineer).get("/api/v1/projects/demo/datasets/wti/versions")
    assert "2025-03-01T23:30:00" in answer.content.decode()


def test_the_language_holds_in_a_browser_that_has_chosen_none(engineer, web):
    User.objects.filter(pk=engineer.pk).update(language="zh-hans")
    client = web(engineer)
    assert '<html lang="zh-hans"' in client.get("/account").content.decode()
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "en"
    assert '<html lang="en"' in client.get("/account").content.decode()


def test_the_page_keeps_what_was_chosen_and_shows_it(engineer, web):
    client = web(engineer)
    sent = {"form": "preferences", "time_zone": "Asia/Shanghai", "language": "zh-hans", "theme": "dark"}
    answer = client.post("/account", sent, follow=True).content.decode()
    assert '<html lang="zh-hans" data-zone="Asia/Shanghai" data-theme="dark">' in answer


def test_a_zone_that_does_not_exist_is_refused_at_the_field(engineer, web):
    answer = web(engineer).post("/account", {"form": "preferences", "time_zone": "Mars/Olympus"})
    assert answer.status_code == 422
    assert 'id="id_time_zone_error"' in answer.content.decode()


ME = "/api/v1/me"


def patch(client, body):
    return client.patch(ME, body, content_type="application/json")


def test_by_rest_what_is_left_out_stays(engineer, web, records):
    client = web(engineer)
    patch(client, {"time_zone": "Asia/Shanghai", "theme": "dark"})
    answer = patch(client, {"language": "zh-hans", "theme": ""})
    chosen = {"time_zone": "Asia/Shanghai", "language": "zh-hans", "theme": ""}
    assert {name: answer.json()[name] for name in chosen} == chosen
    assert {name: client.get(ME).json()[name] for name in chosen} == chosen
    assert records("user.set_preferences")[-1]["after"] == {"language": "zh-hans", "theme": ""}


def test_by_rest_an_unknown_choice_is_named(engineer, web):
    client = web(engineer)
    for field, value in (("time_zone", "Mars/Olympus"), ("language", "tlh"), ("theme", "pink"), ("theme", None)):
        answer = patch(client, {field: value})
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, f"/{field}"), value


def test_no_token_chooses_for_its_owner(engineer, make_token, api):
    answer = patch(api(make_token(engineer)[0]), {"theme": "dark"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
    assert User.objects.get(pk=engineer.pk).theme == ""

import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.preferences.models import SavedView
from apps.platform.preferences.services import QUERY_LIMIT, VIEWS_LIMIT, save_view


def test_a_view_keeps_the_query_but_not_the_place(keep, records):
    view = keep(" Broken ", query="?state=failed&cursor=abc&limit=5&format=csv&sort=-made&columns=a&columns=b&kind=")
    assert (view.name, view.query) == ("Broken", "state=failed&sort=-made&columns=a&columns=b")
    assert records("saved_view.save")[0]["after"]["query"] == view.query


def test_a_second_default_takes_the_place_of_the_first(keep):
    first, second = keep("One", is_default=True), keep("Two", is_default=True)
    first.refresh_from_db()
    assert (first.is_default, second.is_default) == (False, True)


def test_a_name_is_taken_once_in_a_list(keep, engineer, actor_for):
    keep("Broken")
    with pytest.raises(Conflict) as caught:
        keep("Broken")
    assert (caught.value.code, caught.value.field) == ("name_taken", "/name")
    keep("Broken", listing="runs")
    keep("Broken", project=None, listing="tokens")
    with pytest.raises(Conflict):  # null is equal to no other in a database
        keep("Broken", project=None, listing="tokens")


def test_there_is_a_limit(keep, project, engineer):
    SavedView.objects.bulk_create(
        SavedView(user=engineer, project=project, listing="jobs", name=f"v{n}") for n in range(VIEWS_LIMIT)
    )
    with pytest.raises(Conflict) as caught:
        keep("one more")
    assert (caught.value.code, caught.value.limit) == ("too_many_views", VIEWS_LIMIT)
    keep("elsewhere", listing="runs")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "/name"),
        ({"name": "n" * 61}, "/name"),
        ({"name": "two\nlines"}, "/name"),
        ({"listing": "Jobs!"}, "/listing"),
        ({"query": "q=" + "x" * QUERY_LIMIT}, "/query"),
        ({"query": "q=%00"}, "/query"),
        ({"query": "q=%ff"}, "/query"),
        ({"query": "&".join(f"a{n}=1" for n in range(200))}, "/query"),
    ],
)
def test_values_of_nonsense(keep, wrong, field):
    with pytest.raises(Invalid) as caught:
        keep(**wrong)
    assert caught.value.field == field
    assert SavedView.objects.count() == 0


def test_whoever_is_nobody_here_keeps_none(worker_actor):
    with pytest.raises(Refused):
        save_view(actor=worker_actor, listing="jobs", name="x", query="")

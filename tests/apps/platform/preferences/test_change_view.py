import pytest

from apps.core.errors import Conflict, NotFound
from apps.platform.preferences.services import update_view


def test_renamed(keep, engineer, actor_for, records):
    view = update_view(actor=actor_for(engineer), view=keep(), name="Failed")
    assert (view.name, view.query) == ("Failed", "state=failed")
    assert records("saved_view.change")[0]["before"] == {"name": "Broken"}


def test_another_query(keep, engineer, actor_for):
    assert update_view(actor=actor_for(engineer), view=keep(), query="kind=train&cursor=x").query == "kind=train"


def test_the_default_moves(keep, engineer, actor_for):
    first, second = keep("One", is_default=True), keep("Two")
    update_view(actor=actor_for(engineer), view=second, is_default=True)
    first.refresh_from_db()
    assert first.is_default is False


def test_nothing_changed_leaves_no_record(keep, engineer, actor_for, records):
    update_view(actor=actor_for(engineer), view=keep(), name="Broken", is_default=False)
    assert records("saved_view.change") == []


def test_a_name_that_is_taken(keep, engineer, actor_for):
    keep("One")
    with pytest.raises(Conflict):
        update_view(actor=actor_for(engineer), view=keep("Two"), name="One")


def test_somebody_elses(keep, viewer, actor_for):
    with pytest.raises(NotFound):
        update_view(actor=actor_for(viewer), view=keep(), name="Mine now")

import pytest

from apps.core.errors import NotFound
from apps.platform.preferences.models import SavedView
from apps.platform.preferences.services import delete_view


def test_gone(keep, engineer, actor_for, records):
    delete_view(actor=actor_for(engineer), view=keep())
    assert SavedView.objects.count() == 0
    assert records("saved_view.delete")[0]["before"]["name"] == "Broken"


def test_gone_already(keep, engineer, actor_for, records):
    view = keep()
    delete_view(actor=actor_for(engineer), view=SavedView.objects.get(pk=view.pk))
    with pytest.raises(NotFound):
        delete_view(actor=actor_for(engineer), view=view)
    assert len(records("saved_view.delete")) == 1


def test_somebody_elses(keep, viewer, actor_for):
    with pytest.raises(NotFound):
        delete_view(actor=actor_for(viewer), view=keep())
    assert SavedView.objects.count() == 1

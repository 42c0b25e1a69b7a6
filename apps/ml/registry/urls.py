"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.registry import lists, views
from apps.ml.registry.evaluations import views as evaluation_views
from apps.ml.registry.impact import lists as impact_lists

MODEL = "models/<str:name>"  # a client may have named it with spaces, dots, letters of any script
VERSION = f"{MODEL}/<str:version>"

NAMES = {"history": "version_history"}  # "history" is that of the model

app_name = "registry"
urlpatterns = [
    path("models", lists.model_list, name="list"),
    path("model-versions/<int:pk>", views.version_by_id, name="version_by_id"),
    path("variants/<int:pk>", views.variant_by_id, name="variant_by_id"),
    path("lineage/<slug:type>/<str:id>/affected", impact_lists.affected_page, name="affected"),
    path(MODEL, views.model_page, name="model"),
    path(f"{MODEL}/compare", lists.compare_two, name="compare_two"),
    path(f"{MODEL}/baselines", views.model_page, {"tab": "baselines"}, name="baselines"),
    path(f"{MODEL}/evaluation-sets", evaluation_views.make_set, name="make_set"),
    path(f"{MODEL}/gates", evaluation_views.set_gate, name="set_gate"),
    path(f"{MODEL}/gates/<int:pk>/remove", evaluation_views.remove_gate, name="remove_gate"),
    path(f"{MODEL}/history", views.model_page, {"tab": "history"}, name="history"),
    path(f"{MODEL}/audit", views.model_page, {"tab": "audit"}, name="model_audit"),
    path(f"{MODEL}/rollback", views.roll_back, name="rollback"),
    path(VERSION, views.version_page, name="version"),
    *(path(f"{VERSION}/{tab}", views.version_page, {"tab": tab}, name=NAMES.get(tab, tab)) for tab in views.TABS[1:]),
    path(f"{VERSION}/evaluate", evaluation_views.evaluate, name="evaluate"),
    path(f"{VERSION}/promote", views.promote, name="promote"),
    path(f"{VERSION}/alias", views.set_alias, name="set_alias"),
]

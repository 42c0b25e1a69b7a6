"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.registry import lists, views
from apps.ml.registry.evaluations import views as evaluation_views
from apps.ml.registry.from_run.page import register_from_run
from apps.ml.registry.impact import lists as impact_lists
from apps.ml.registry.model_card import views as card_views
from apps.ml.registry.tags import views as tag_views

MODEL = "models/<str:name>"  # a client may have named it with spaces, dots, letters of any script
VERSION = f"{MODEL}/<str:version>"

NAMES = {"history": "version_history"}  # "history" is that of the model

app_name = "registry"
urlpatterns = [
    path("models", lists.show_models, name="list"),
    path("runs/<slug:run>/register", register_from_run, name="register_run"),
    path("model-versions/<int:pk>", views.redirect_to_version, name="version_by_id"),
    path("variants/<int:pk>", views.redirect_to_variant, name="variant_by_id"),
    path("lineage/<slug:type>/<str:id>/affected", impact_lists.show_affected, name="affected"),
    path(MODEL, views.show_model, name="model"),
    path(f"{MODEL}/card", card_views.edit_model_card, name="card"),
    path(f"{MODEL}/compare", lists.compare_two, name="compare_two"),
    path(f"{MODEL}/baselines", views.show_model, {"tab": "baselines"}, name="baselines"),
    path(f"{MODEL}/evaluation-sets", evaluation_views.make_set, name="make_set"),
    path(f"{MODEL}/gates", evaluation_views.set_gate, name="set_gate"),
    path(f"{MODEL}/gates/<int:pk>/remove", evaluation_views.remove_gate, name="remove_gate"),
    path(f"{MODEL}/history", views.show_model, {"tab": "history"}, name="history"),
    path(f"{MODEL}/audit", views.show_model, {"tab": "audit"}, name="model_audit"),
    path(f"{MODEL}/rollback", views.roll_back, name="rollback"),
    path(f"{MODEL}/tags", tag_views.set_model_tag, name="set_model_tag"),
    path(f"{MODEL}/tags/remove", tag_views.remove_model_tag, name="remove_model_tag"),
    path(VERSION, views.show_version, name="version"),
    *(path(f"{VERSION}/{tab}", views.show_version, {"tab": tab}, name=NAMES.get(tab, tab)) for tab in views.TABS[1:]),
    path(f"{VERSION}/evaluate", evaluation_views.evaluate, name="evaluate"),
    path(f"{VERSION}/promote", views.promote, name="promote"),
    path(f"{VERSION}/alias", views.set_alias, name="set_alias"),
    path(f"{VERSION}/tags", tag_views.set_version_tag, name="set_version_tag"),
    path(f"{VERSION}/tags/remove", tag_views.remove_version_tag, name="remove_version_tag"),
    path(f"{VERSION}/unblock", views.unblock, name="unblock"),
]

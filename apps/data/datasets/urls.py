"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.data.datasets import expectation_views, lists, version_views, views
from apps.data.datasets.cards import views as card_views

VERSION = "data/<slug:name>/<str:version>"

app_name = "datasets"
urlpatterns = [
    path("data", lists.show_dataset_list, name="list"),
    path("upload", views.upload, name="upload"),
    path("datasets", views.create, name="create"),
    path("versions/<int:pk>", views.redirect_to_version, name="by_id"),
    path("data/<slug:name>", lists.show_dataset, name="dataset"),
    path("data/<slug:name>/card", card_views.edit_dataset_card, name="card"),
    path("data/<slug:name>/expectations", expectation_views.update_expectations, name="expectations"),
    path(f"{VERSION}/measure", expectation_views.measure, name="measure"),
    path(VERSION, views.show_version, name="version"),
    *(path(f"{VERSION}/{tab}", views.show_version, {"tab": tab}, name=tab) for tab in views.TABS if tab != "overview"),
    path(f"{VERSION}/measuring", version_views.show_measuring, name="measuring"),
    path(f"{VERSION}/tag", version_views.tag, name="tag"),
    path(f"{VERSION}/delete", version_views.delete, name="delete"),
    path(f"{VERSION}/diff", version_views.diff, name="diff"),
]

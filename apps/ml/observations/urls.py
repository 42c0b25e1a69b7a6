"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.observations import lists, views

app_name = "observations"
urlpatterns = [
    path("observations", lists.show_sources, name="list"),
    path("observations/<slug:name>", views.show_source, name="detail"),
    path("observations/<slug:name>/settings", views.change_settings, name="settings"),
    path("observations/<slug:name>/dataset", views.make_dataset, name="dataset"),
]

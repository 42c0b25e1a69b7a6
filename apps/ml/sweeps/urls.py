"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.sweeps import lists, views

urlpatterns = [
    path("sweeps", lists.show_sweeps, name="list"),
    path("sweeps/<int:pk>", views.show_sweep, name="detail"),
    path("sweeps/<int:pk>/cancel", views.cancel, name="cancel"),
]

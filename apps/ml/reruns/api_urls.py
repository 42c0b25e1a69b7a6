"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.reruns import api

urlpatterns = [
    path("runs/<slug:run>/rerun", api.RunAgainView.as_view(), name="api-run-again"),
    path("runs/<slug:run>/reruns", api.RerunsView.as_view(), name="api-run-reruns"),
    path("runs/<slug:run>/verdict", api.VerdictView.as_view(), name="api-run-verdict"),
    path("reruns/<int:pk>", api.RerunView.as_view(), name="api-rerun"),
]

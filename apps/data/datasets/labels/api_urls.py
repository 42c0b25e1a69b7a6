"""Below /api/v1/."""

from django.urls import path

from apps.data.datasets.labels import api

IN_PROJECT = "projects/<slug:project>"

urlpatterns = [
    path(f"{IN_PROJECT}/label", api.ProjectLabel.as_view(), name="api-project-label"),
    path(f"{IN_PROJECT}/dataset-labels", api.DatasetLabels.as_view(), name="api-dataset-labels"),
    path(f"{IN_PROJECT}/dataset-labels/<str:name>", api.DatasetLabel.as_view(), name="api-dataset-label"),
    path(
        f"{IN_PROJECT}/service-accounts/<str:name>/clearance",
        api.ServiceAccountClearance.as_view(),
        name="api-service-account-clearance",
    ),
    path("users/<str:username>/clearance", api.UserClearance.as_view(), name="api-user-clearance"),
]

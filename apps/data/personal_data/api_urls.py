"""Below /api/v1/projects/<slug:project>/, and below /api/v1/."""

from django.urls import path

from apps.data.personal_data import api

urlpatterns = [
    path("personal-data", api.ProjectPersonalData.as_view(), name="api-personal-data"),
    path("personal-data/<int:pk>", api.PersonalColumnView.as_view(), name="api-personal-column"),
    path(
        "datasets/<str:name>/personal-data/suggestions",
        api.SuggestionsView.as_view(),
        name="api-personal-data-suggestions",
    ),
]
plane_urlpatterns = [
    path("personal-data", api.PlanePersonalData.as_view(), name="api-plane-personal-data"),
    path("personal-data/tables", api.PlaneTablesView.as_view(), name="api-plane-personal-data-tables"),
]

"""Below /p/<slug:project>/, and of the plane."""

from django.urls import path

from apps.data.personal_data import views

app_name = "personal_data"
urlpatterns = [path("personal-data", views.show_project_inventory, name="list")]
plane_urlpatterns = [
    path("personal-data", views.show_plane_inventory, name="plane_personal_data"),
    path("personal-data/tables.csv", views.export_tables, name="plane_personal_data_tables"),
]

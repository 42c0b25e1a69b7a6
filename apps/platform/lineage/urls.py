"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.platform.lineage import views

app_name = "lineage"
urlpatterns = [
    path("jobs/<int:pk>/lineage", views.show_job_lineage, name="job"),
    path("lineage/<slug:type>/<str:id>", views.show_end, name="end"),
]

"""Forms of new jobs and pipelines, below /p/<slug:project>/. Each list is of the namespace that its names are in."""

from django.urls import path

from apps.web.new_job import views

datasets_urlpatterns = [
    path("jobs/new", views.choose_kind, name="new_job"),
    path("jobs/new/<str:kind>", views.create_job, name="new_job_of"),
]
pipelines_urlpatterns = [path("pipelines/new", views.create_pipeline, name="new")]
urlpatterns = [*datasets_urlpatterns, *pipelines_urlpatterns]

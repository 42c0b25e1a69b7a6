"""Forms of new jobs, pipelines and sweeps, below /p/<slug:project>/. Each list is of the namespace of its names."""

from django.urls import path

from apps.web.new_job import sweep_views, views

datasets_urlpatterns = [
    path("jobs/new", views.choose_kind, name="new_job"),
    path("jobs/new/<str:kind>", views.create_job, name="new_job_of"),
]
pipelines_urlpatterns = [
    path("pipelines/new", views.create_pipeline, name="new"),
    path("pipelines/<int:pk>/rerun", views.rerun_pipeline, name="rerun"),
]
sweeps_urlpatterns = [
    path("sweeps/new", sweep_views.choose_kind, name="new"),
    path("sweeps/new/<str:kind>", sweep_views.create, name="new_of"),
]
urlpatterns = [*datasets_urlpatterns, *pipelines_urlpatterns, *sweeps_urlpatterns]

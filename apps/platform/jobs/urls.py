"""Pages below /p/<slug:project>/. A new job's form is with the datasets that it takes (apps/data/datasets/urls.py)."""

from django.urls import path

from apps.platform.jobs import lists, views
from apps.platform.jobs.status import fetch_report

app_name = "jobs"
urlpatterns = [
    path("jobs", lists.show_jobs, name="list"),
    path("jobs/bulk", lists.handle_bulk_action, name="bulk"),
    path("jobs/<int:pk>", views.show_job, name="detail"),
    *(path(f"jobs/<int:pk>/{tab}", views.show_job, {"tab": tab}, name=tab) for tab in views.TABS if tab != "overview"),
    path("jobs/<int:pk>/fetches", fetch_report.show_fetches, name="fetches"),
    path("jobs/<int:pk>/log/first", views.redirect_to_first_line, name="first_line"),
    path("jobs/<int:pk>/cancel", views.cancel, name="cancel"),
    path("jobs/<int:pk>/retry", views.retry, name="retry"),
    path("jobs/<int:pk>/priority", views.prioritise, name="priority"),
]

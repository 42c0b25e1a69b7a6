"""Pages below /p/<slug:project>/. A new job's form is with the datasets that it takes (apps/data/datasets/urls.py)."""

from django.urls import path

from apps.platform.jobs import lists, views
from apps.platform.jobs.status import fetch_report

app_name = "jobs"
urlpatterns = [
    path("jobs", lists.job_list, name="list"),
    path("jobs/bulk", lists.bulk, name="bulk"),
    path("jobs/<int:pk>", views.job_page, name="detail"),
    *(path(f"jobs/<int:pk>/{tab}", views.job_page, {"tab": tab}, name=tab) for tab in views.TABS if tab != "overview"),
    path("jobs/<int:pk>/fetches", fetch_report.show_fetches, name="fetches"),
    path("jobs/<int:pk>/log/first", views.first_line, name="first_line"),
    path("jobs/<int:pk>/cancel", views.cancel, name="cancel"),
    path("jobs/<int:pk>/retry", views.retry, name="retry"),
    path("jobs/<int:pk>/priority", views.prioritise, name="priority"),
]

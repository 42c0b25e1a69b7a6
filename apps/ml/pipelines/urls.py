"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.pipelines import lists, views

app_name = "pipelines"
urlpatterns = [
    path("pipelines", lists.show_pipelines, name="list"),
    path("pipelines/bulk", lists.run_bulk_cancel, name="bulk"),
    path("pipelines/<int:pk>", views.show_pipeline, name="detail"),
    *(
        path(f"pipelines/<int:pk>/{tab}", views.show_pipeline, {"tab": tab}, name=tab)
        for tab in views.TABS
        if tab != "overview"
    ),
    path("pipelines/<int:pk>/cancel", views.cancel, name="cancel"),
    path("pipelines/<int:pk>/retry", views.retry_step, name="retry"),
]

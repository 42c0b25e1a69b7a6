"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.pipelines import lists, views

app_name = "pipelines"
urlpatterns = [
    path("pipelines", lists.pipeline_list, name="list"),
    path("pipelines/bulk", lists.bulk, name="bulk"),
    path("pipelines/new", views.new_pipeline, name="new"),
    path("pipelines/<int:pk>", views.pipeline_page, name="detail"),
    *(
        path(f"pipelines/<int:pk>/{tab}", views.pipeline_page, {"tab": tab}, name=tab)
        for tab in views.TABS
        if tab != "overview"
    ),
    path("pipelines/<int:pk>/cancel", views.cancel, name="cancel"),
    path("pipelines/<int:pk>/retry", views.retry_step, name="retry"),
    path("pipelines/<int:pk>/rerun", views.rerun, name="rerun"),
]

"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.experiments import annotations_page, bulk_page, experiment_list, lists, logged_model_page, run_page
from apps.ml.experiments.comparison import page
from apps.ml.experiments.diagnostics.page import download_table, show_sample_image
from apps.ml.experiments.workspace import page as workspace_page

app_name = "experiments"
urlpatterns = [
    path("runs", lists.run_list, name="list"),
    path("experiments", experiment_list.show_experiments, name="experiments"),
    path("logged-models/<slug:model>", logged_model_page.render_logged_model_page, name="logged_model"),
    path("runs/compare", page.compare, name="compare"),
    path("runs/bulk", bulk_page.apply_bulk_action, name="bulk"),
    path("runs/panels", workspace_page.show_panels, name="panels"),
    path("runs/panels/new", workspace_page.save_new_panel, name="add_panel"),
    path("runs/panels/<int:pk>", workspace_page.save_panel, name="panel"),
    path("runs/complete", bulk_page.suggest_completions, name="complete"),
    path("runs/<slug:run>", run_page.run_page, name="detail"),
    *(
        path(f"runs/<slug:run>/{tab}", run_page.run_page, {"tab": tab}, name=tab)
        for tab in run_page.TABS
        if tab != "overview"
    ),
    path("runs/<slug:run>/diagnostics/<slug:table>.csv", download_table, name="diagnostics_csv"),
    path("runs/<slug:run>/samples/<int:place>", show_sample_image, name="sample_image"),
    path("runs/<slug:run>/note", annotations_page.save_note, name="note"),
    path("runs/<slug:run>/tags", annotations_page.add_tag, name="add_tag"),
    path("runs/<slug:run>/tags/remove", annotations_page.remove_tag, name="remove_tag"),
    path("runs/<slug:run>/delete", annotations_page.delete, name="delete"),
    path("runs/<slug:run>/restore", annotations_page.restore, name="restore"),
    *(
        path(f"runs/<slug:run>/{tab}/charts", run_page.run_charts, {"tab": tab}, name=f"{tab}_charts")
        for tab in run_page.DRAWN_TABS
    ),
]

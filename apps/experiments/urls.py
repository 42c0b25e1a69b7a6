"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.experiments import compare_page, lists, logged_model_page, run_page

app_name = "experiments"
urlpatterns = [
    path("runs", lists.run_list, name="list"),
    path("logged-models/<slug:model>", logged_model_page.logged_model_page, name="logged_model"),
    path("runs/compare", compare_page.compare, name="compare"),
    path("runs/<slug:run>", run_page.run_page, name="detail"),
    *(
        path(f"runs/<slug:run>/{tab}", run_page.run_page, {"tab": tab}, name=tab)
        for tab in run_page.TABS
        if tab != "overview"
    ),
    *(
        path(f"runs/<slug:run>/{tab}/charts", run_page.run_charts, {"tab": tab}, name=f"{tab}_charts")
        for tab in run_page.DRAWN_TABS
    ),
]

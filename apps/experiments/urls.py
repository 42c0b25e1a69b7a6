"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.experiments import views

app_name = "experiments"
urlpatterns = [
    path("runs", views.run_list, name="list"),
    path("runs/compare", views.compare, name="compare"),
    path("runs/<slug:run>", views.run_page, name="detail"),
    *(
        path(f"runs/<slug:run>/{tab}", views.run_page, {"tab": tab}, name=tab)
        for tab in views.TABS
        if tab != "overview"
    ),
]

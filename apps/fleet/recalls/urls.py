"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.recalls import lists, views

app_name = "recalls"
urlpatterns = [
    path("recalls", lists.show_recalls, name="list"),
    path("recalls/search", lists.search_carriers, name="search"),
    path("recalls/<int:pk>", views.show_recall, name="detail"),
    path("recalls/<int:pk>/retry", views.retry, name="retry"),
]

"""Below /p/<slug:project>/."""

from django.urls import path

from apps.platform.holds import views

app_name = "holds"
urlpatterns = [
    path("holds", views.show_holds, name="list"),
    path("holds/<int:pk>/release", views.release, name="release"),
]

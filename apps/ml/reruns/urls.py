"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.reruns import views

app_name = "reruns"
urlpatterns = [
    path("runs/<slug:run>/rerun", views.run_again, name="new"),
    path("reruns/<int:pk>", views.rerun_page, name="detail"),
]

from django.urls import path

from apps.data.datasets.labels import views

app_name = "labels"
urlpatterns = [
    path("labels", views.show_labels, name="list"),
    path("labels/<slug:slug>", views.show_project_labels, name="project"),
]

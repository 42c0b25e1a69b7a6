"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.platform.comments import views

app_name = "comments"
urlpatterns = [
    path("comments", views.add, name="add"),
    path("comments/people", views.suggest, name="people"),
    path("comments/<int:pk>", views.change, name="change"),
]

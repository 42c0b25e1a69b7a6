from django.urls import path

from apps.platform.preferences import views

app_name = "preferences"
urlpatterns = [
    path("views", views.save, name="save"),
    path("views/<int:pk>", views.update, name="change"),
    path("views/<int:pk>/delete", views.delete, name="delete"),
]

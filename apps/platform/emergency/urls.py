from django.urls import path

from apps.platform.emergency import views

app_name = "emergency"
urlpatterns = [
    path("emergency", views.show_grants, name="list"),
    path("emergency/<int:pk>", views.show_grant, name="detail"),
    path("emergency/<int:pk>/confirm", views.confirm, name="confirm"),
    path("emergency/<int:pk>/end", views.end, name="end"),
]

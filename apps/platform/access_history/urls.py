from django.urls import path

from apps.platform.access_history import views

app_name = "access_history"
urlpatterns = [path("access-history", views.show_history, name="list")]

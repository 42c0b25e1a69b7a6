"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.monitoring import lists, views

app_name = "monitoring"
urlpatterns = [
    path("monitors", lists.show_monitors, name="list"),
    path("monitors/<int:pk>", views.show_monitor, name="monitor"),
    path("monitors/<int:pk>/pause", views.pause, name="pause"),
    path("monitors/<int:pk>/resume", views.resume, name="resume"),
    path("monitors/<int:pk>/delete", views.delete, name="delete"),
    path("alarms/<int:pk>", views.show_alarm, name="alarm"),
    path("alarms/<int:pk>/acknowledge", views.acknowledge, name="acknowledge"),
    path("alarms/<int:pk>/close", views.close, name="close"),
]

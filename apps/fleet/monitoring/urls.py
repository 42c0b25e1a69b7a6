"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.monitoring import lists, views
from apps.fleet.monitoring.retraining import views as retraining

app_name = "monitoring"
urlpatterns = [
    path("monitors", lists.show_monitors, name="list"),
    path("monitors/<int:pk>", views.show_monitor, name="monitor"),
    path("monitors/<int:pk>/pause", views.pause, name="pause"),
    path("monitors/<int:pk>/resume", views.resume, name="resume"),
    path("monitors/<int:pk>/delete", views.delete, name="delete"),
    path("monitors/<int:pk>/retraining", retraining.set_plan, name="set_retraining"),
    path("monitors/<int:pk>/retraining/remove", retraining.remove_plan, name="remove_retraining"),
    path("retrainings/<int:pk>/retry", retraining.retry, name="retry_retraining"),
    path("retrainings/<int:pk>/cancel", retraining.cancel, name="cancel_retraining"),
    path("alarms/<int:pk>", views.show_alarm, name="alarm"),
    path("alarms/<int:pk>/acknowledge", views.acknowledge, name="acknowledge"),
    path("alarms/<int:pk>/close", views.close, name="close"),
]

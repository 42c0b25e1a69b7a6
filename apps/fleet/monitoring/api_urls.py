"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.fleet.monitoring import api
from apps.fleet.monitoring.retraining import api as retraining

urlpatterns = [
    path("monitors", api.MonitorList.as_view(), name="api-monitors"),
    path("monitors/<int:pk>", api.MonitorDetail.as_view(), name="api-monitor"),
    path("monitors/<int:pk>/pause", api.MonitorPause.as_view(), name="api-monitor-pause"),
    path("monitors/<int:pk>/resume", api.MonitorResume.as_view(), name="api-monitor-resume"),
    path("monitors/<int:pk>/windows", api.WindowList.as_view(), name="api-monitor-windows"),
    path("monitors/<int:pk>/drift", api.DriftWindowList.as_view(), name="api-monitor-drift"),
    path("monitors/<int:pk>/retraining", retraining.RetrainingPlanDetail.as_view(), name="api-monitor-retraining"),
    path("monitors/<int:pk>/retrainings", retraining.RetrainingList.as_view(), name="api-monitor-retrainings"),
    path("retrainings/<int:pk>/retry", retraining.RetrainingRetry.as_view(), name="api-retraining-retry"),
    path("retrainings/<int:pk>/cancel", retraining.RetrainingCancel.as_view(), name="api-retraining-cancel"),
    path("alarms", api.AlarmList.as_view(), name="api-alarms"),
    path("alarms/<int:pk>", api.AlarmDetail.as_view(), name="api-alarm"),
    path("alarms/<int:pk>/acknowledge", api.AlarmAcknowledge.as_view(), name="api-alarm-acknowledge"),
    path("alarms/<int:pk>/close", api.AlarmClose.as_view(), name="api-alarm-close"),
]

"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.fleet.monitoring import api

urlpatterns = [
    path("monitors", api.MonitorList.as_view(), name="api-monitors"),
    path("monitors/<int:pk>", api.MonitorDetail.as_view(), name="api-monitor"),
    path("monitors/<int:pk>/pause", api.MonitorPause.as_view(), name="api-monitor-pause"),
    path("monitors/<int:pk>/resume", api.MonitorResume.as_view(), name="api-monitor-resume"),
    path("monitors/<int:pk>/windows", api.WindowList.as_view(), name="api-monitor-windows"),
    path("monitors/<int:pk>/drift", api.DriftWindowList.as_view(), name="api-monitor-drift"),
    path("alarms", api.AlarmList.as_view(), name="api-alarms"),
    path("alarms/<int:pk>", api.AlarmDetail.as_view(), name="api-alarm"),
    path("alarms/<int:pk>/acknowledge", api.AlarmAcknowledge.as_view(), name="api-alarm-acknowledge"),
    path("alarms/<int:pk>/close", api.AlarmClose.as_view(), name="api-alarm-close"),
]

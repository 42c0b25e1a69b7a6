"""Below /api/v1/."""

from django.urls import path

from apps.site.security_alarms import api

urlpatterns = [
    path("security-alarms", api.SecurityAlarmList.as_view(), name="api-security-alarms"),
    path("security-alarms/rules", api.AlarmRuleList.as_view(), name="api-security-alarm-rules"),
    path("security-alarms/rules/<str:rule>", api.AlarmRuleDetail.as_view(), name="api-security-alarm-rule"),
    path("security-alarms/<int:pk>", api.SecurityAlarmDetail.as_view(), name="api-security-alarm"),
    path(
        "security-alarms/<int:pk>/acknowledge",
        api.SecurityAlarmAcknowledgement.as_view(),
        name="api-security-alarm-acknowledge",
    ),
]

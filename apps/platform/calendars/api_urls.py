"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.platform.calendars import api

urlpatterns = [
    path("schedules", api.ScheduleList.as_view(), name="api-schedules"),
    path("schedules/preview", api.SchedulePreview.as_view(), name="api-schedules-preview"),
    path("schedules/<int:pk>", api.ScheduleDetail.as_view(), name="api-schedule"),
    path("schedules/<int:pk>/pause", api.SchedulePause.as_view(), name="api-schedule-pause"),
    path("schedules/<int:pk>/resume", api.ScheduleResume.as_view(), name="api-schedule-resume"),
    path("schedules/<int:pk>/occurrences", api.OccurrenceList.as_view(), name="api-schedule-occurrences"),
]

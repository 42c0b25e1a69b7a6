"""Below /api/v1/projects/<slug:project>/, and of the plane's own schedules below /api/v1/."""

from django.urls import path

from apps.platform.calendars import api, plane_api

urlpatterns = [
    path("schedules", api.ScheduleList.as_view(), name="api-schedules"),
    path("schedules/preview", api.SchedulePreview.as_view(), name="api-schedules-preview"),
    path("schedules/<int:pk>", api.ScheduleDetail.as_view(), name="api-schedule"),
    path("schedules/<int:pk>/pause", api.SchedulePause.as_view(), name="api-schedule-pause"),
    path("schedules/<int:pk>/resume", api.ScheduleResume.as_view(), name="api-schedule-resume"),
    path("schedules/<int:pk>/occurrences", api.OccurrenceList.as_view(), name="api-schedule-occurrences"),
]
plane_urlpatterns = [
    path("schedules", plane_api.PlaneScheduleList.as_view(), name="api-plane-schedules"),
    path("schedules/preview", plane_api.PlaneSchedulePreview.as_view(), name="api-plane-schedules-preview"),
    path("schedules/<int:pk>", plane_api.PlaneScheduleDetail.as_view(), name="api-plane-schedule"),
    path("schedules/<int:pk>/pause", plane_api.PlaneSchedulePause.as_view(), name="api-plane-schedule-pause"),
    path("schedules/<int:pk>/resume", plane_api.PlaneScheduleResume.as_view(), name="api-plane-schedule-resume"),
    path(
        "schedules/<int:pk>/occurrences",
        plane_api.PlaneOccurrenceList.as_view(),
        name="api-plane-schedule-occurrences",
    ),
]

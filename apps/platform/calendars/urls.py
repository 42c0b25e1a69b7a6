"""Pages below /p/<slug:project>/, and those of the plane's own schedules."""

from django.urls import path

from apps.platform.calendars import views

app_name = "calendars"
urlpatterns = [
    path("schedules", views.show_schedules, name="list"),
    path("schedules/new", views.create_schedule, name="new"),
    path("schedules/<int:pk>", views.show_schedule, name="schedule"),
    path("schedules/<int:pk>/pause", views.pause, name="pause"),
    path("schedules/<int:pk>/resume", views.resume, name="resume"),
    path("schedules/<int:pk>/delete", views.delete, name="delete"),
]
plane_urlpatterns = (urlpatterns, "plane_schedules")

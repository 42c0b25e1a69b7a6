from django.urls import path

from apps.site.security_alarms import views

app_name = "security_alarms"
urlpatterns = [path("security-alarms", views.show_alarms, name="list")]

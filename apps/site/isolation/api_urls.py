from django.urls import path

from apps.site.isolation import api

urlpatterns = [
    path("isolation", api.IsolationDetail.as_view(), name="api-isolation"),
    path("isolation/reports", api.ProbeReportList.as_view(), name="api-isolation-reports"),
]

from django.urls import path

from apps.platform.access_history import api

urlpatterns = [path("access-history", api.AccessHistoryList.as_view(), name="api-access-history")]

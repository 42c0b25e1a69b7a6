"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.sweeps import api

urlpatterns = [
    path("sweeps", api.SweepList.as_view(), name="api-sweeps"),
    path("sweeps/<int:pk>", api.SweepDetail.as_view(), name="api-sweep"),
    path("sweeps/<int:pk>/trials", api.SweepTrials.as_view(), name="api-sweep-trials"),
    path("sweeps/<int:pk>/cancel", api.SweepCancel.as_view(), name="api-sweep-cancel"),
]

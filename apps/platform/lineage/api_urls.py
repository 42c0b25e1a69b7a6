from django.urls import path

from apps.platform.lineage import api

urlpatterns = [
    path("lineage", api.LineageGraph.as_view(), name="api-lineage"),
    path("lineage.csv", api.LineageCsv.as_view(), name="api-lineage-csv"),
]

"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.observations import api

urlpatterns = [
    path("observations/sources", api.SourceList.as_view(), name="api-observation-sources"),
    path("observations/sources/<slug:name>", api.SourceDetail.as_view(), name="api-observation-source"),
    path("observations/predictions", api.PredictionList.as_view(), name="api-observation-predictions"),
    path("observations/labels", api.LabelList.as_view(), name="api-observation-labels"),
    path("observations/figures", api.FiguresView.as_view(), name="api-observation-figures"),
    path("observations/datasets", api.DatasetList.as_view(), name="api-observation-datasets"),
]

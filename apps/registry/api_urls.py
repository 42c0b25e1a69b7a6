"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.registry import affected_api, api

VERSION = "models/<str:name>/versions/<str:version>"

urlpatterns = [
    path("lineage/affected", affected_api.AffectedView.as_view(), name="api-affected"),
    path("models", api.ModelsView.as_view(), name="api-models"),
    path("models/<str:name>", api.ModelView.as_view(), name="api-model"),
    path("models/<str:name>/versions", api.ModelVersionsView.as_view(), name="api-model-versions"),
    path("models/<str:name>/aliases/<str:alias>", api.AliasView.as_view(), name="api-model-alias"),
    path("models/<str:name>/rollback", api.RollbackView.as_view(), name="api-model-rollback"),
    path(VERSION, api.ModelVersionView.as_view(), name="api-model-version"),
    path(f"{VERSION}/promote", api.PromoteView.as_view(), name="api-model-promote"),
    path(f"{VERSION}/compare", api.CompareView.as_view(), name="api-model-compare"),
]

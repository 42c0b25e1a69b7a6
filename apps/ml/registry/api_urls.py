"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.registry import api
from apps.ml.registry.evaluations import api as evaluation_api
from apps.ml.registry.from_run import api as from_run_api
from apps.ml.registry.impact import api as impact_api
from apps.ml.registry.model_card import api as card_api
from apps.ml.registry.tags import api as tag_api

VERSION = "models/<str:name>/versions/<str:version>"

urlpatterns = [
    path("lineage/affected", impact_api.AffectedView.as_view(), name="api-affected"),
    path("runs/<slug:run>/register", from_run_api.RunRegistrationView.as_view(), name="api-run-register"),
    path("models", api.ModelsView.as_view(), name="api-models"),
    path("models/<str:name>", api.ModelView.as_view(), name="api-model"),
    path("models/<str:name>/versions", api.ModelVersionsView.as_view(), name="api-model-versions"),
    path("models/<str:name>/aliases/<str:alias>", api.AliasView.as_view(), name="api-model-alias"),
    path("models/<str:name>/tags", tag_api.ModelTagsView.as_view(), name="api-model-tags"),
    path("models/<str:name>/rollback", api.RollbackView.as_view(), name="api-model-rollback"),
    path("models/<str:name>/baselines", evaluation_api.BaselinesView.as_view(), name="api-model-baselines"),
    path("models/<str:name>/gates", evaluation_api.GatesView.as_view(), name="api-model-gates"),
    path("models/<str:name>/gates/<int:pk>", evaluation_api.GateView.as_view(), name="api-model-gate"),
    path("evaluation-sets", evaluation_api.EvaluationSetsView.as_view(), name="api-evaluation-sets"),
    path("evaluation-sets/<str:name>", evaluation_api.EvaluationSetView.as_view(), name="api-evaluation-set"),
    path("evaluations/<int:pk>", evaluation_api.EvaluationView.as_view(), name="api-evaluation"),
    path(
        f"{VERSION}/evaluations",
        evaluation_api.VersionEvaluationsView.as_view(),
        name="api-version-evaluations",
    ),
    path(f"{VERSION}/gates", evaluation_api.VersionGatesView.as_view(), name="api-version-gates"),
    path(VERSION, api.ModelVersionView.as_view(), name="api-model-version"),
    path(f"{VERSION}/card.md", card_api.CardMarkdownView.as_view(), name="api-version-card-md"),
    path(f"{VERSION}/card.html", card_api.CardHtmlView.as_view(), name="api-version-card-html"),
    path(f"{VERSION}/tags", tag_api.ModelVersionTagsView.as_view(), name="api-model-version-tags"),
    path(f"{VERSION}/promote", api.PromoteView.as_view(), name="api-model-promote"),
    path(f"{VERSION}/unblock", api.UnblockView.as_view(), name="api-model-unblock"),
    path(f"{VERSION}/compare", api.CompareView.as_view(), name="api-model-compare"),
]

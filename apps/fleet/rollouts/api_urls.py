"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.fleet.rollouts import api

urlpatterns = [
    path("rollouts", api.RolloutList.as_view(), name="api-rollouts"),
    path("rollouts/<int:pk>", api.RolloutDetail.as_view(), name="api-rollout"),
    path("rollouts/<int:pk>/preview", api.RolloutPreview.as_view(), name="api-rollout-preview"),
    path("rollouts/<int:pk>/devices", api.RolloutDevices.as_view(), name="api-rollout-devices"),
    path("rollouts/<int:pk>/evidence", api.RolloutEvidence.as_view(), name="api-rollout-evidence"),
    path("rollouts/<int:pk>/request-start", api.RolloutRequestStart.as_view(), name="api-rollout-request-start"),
    path(
        "rollouts/<int:pk>/request-decision",
        api.RolloutRequestDecision.as_view(),
        name="api-rollout-request-decision",
    ),
    path("rollouts/<int:pk>/start", api.RolloutStart.as_view(), name="api-rollout-start"),
    path("rollouts/<int:pk>/pause", api.RolloutPause.as_view(), name="api-rollout-pause"),
    path("rollouts/<int:pk>/resume", api.RolloutResume.as_view(), name="api-rollout-resume"),
    path("rollouts/<int:pk>/abort", api.RolloutAbort.as_view(), name="api-rollout-abort"),
    path("rollouts/<int:pk>/retry", api.RolloutRetry.as_view(), name="api-rollout-retry"),
    path("rollouts/<int:pk>/roll-back", api.RolloutRollBack.as_view(), name="api-rollout-roll-back"),
]

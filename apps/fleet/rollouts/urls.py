"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.rollouts import lists, views

app_name = "rollouts"
urlpatterns = [
    path("rollouts", lists.show_rollouts, name="list"),
    path("rollouts/new", views.plan_rollout, name="new"),
    path("rollouts/new/selection", views.count_selection, name="selection"),
    path("rollouts/<int:rollout>", views.show_rollout, name="detail"),
    path("rollouts/<int:rollout>/devices", lists.show_members, name="devices"),
    path("rollouts/<int:rollout>/preview", views.show_preview, name="preview"),
    path("rollouts/<int:rollout>/request-start", views.request_start, name="request_start"),
    path("rollouts/<int:rollout>/request-decision", views.request_decision, name="request_decision"),
    path("rollouts/<int:rollout>/start", views.start, name="start"),
    path("rollouts/<int:rollout>/pause", views.pause, name="pause"),
    path("rollouts/<int:rollout>/resume", views.resume, name="resume"),
    path("rollouts/<int:rollout>/abort", views.abort, name="abort"),
    path("rollouts/<int:rollout>/retry", views.retry, name="retry"),
    path("rollouts/<int:rollout>/roll-back", views.roll_back, name="roll_back"),
]

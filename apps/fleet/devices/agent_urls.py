"""Below /api/v1/agent/: what devices ask with a token of their own."""

from django.urls import path

from apps.fleet.devices import agent_api

urlpatterns = [
    path("enrol", agent_api.AgentEnrol.as_view(), name="agent-enrol"),
    path("poll", agent_api.AgentPoll.as_view(), name="agent-poll"),
    path("keys", agent_api.AgentKeys.as_view(), name="agent-keys"),
    path("files/<str:digest>", agent_api.AgentFile.as_view(), name="agent-file"),
    path("assignments/<str:assignment>/status", agent_api.AgentStatus.as_view(), name="agent-status"),
    path("receipts", agent_api.AgentReceipts.as_view(), name="agent-receipts"),
    path("heartbeat", agent_api.AgentHeartbeat.as_view(), name="agent-heartbeat"),
    path("observations/predictions", agent_api.AgentPredictions.as_view(), name="agent-predictions"),
    path("observations/labels", agent_api.AgentLabels.as_view(), name="agent-labels"),
]

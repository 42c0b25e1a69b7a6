"""Below /api/v1/projects/<slug:project>/; `plane_urlpatterns` below /api/v1/."""

from django.urls import path

from apps.ml.labelling import api

urlpatterns = [
    path("labelling/servers", api.LabelServerList.as_view(), name="api-label-servers"),
    path("labelling/servers/<slug:name>", api.LabelServerDetail.as_view(), name="api-label-server"),
    path("labelling/schemas", api.LabelSchemaList.as_view(), name="api-label-schemas"),
    path(
        "labelling/schemas/<slug:name>/<int:schema_version>", api.LabelSchemaDetail.as_view(), name="api-label-schema"
    ),
    path("labelling/projects", api.LabellingList.as_view(), name="api-labellings"),
    path("labelling/projects/<int:pk>", api.LabellingDetail.as_view(), name="api-labelling"),
    path("labelling/projects/<int:pk>/sync", api.LabellingSync.as_view(), name="api-labelling-sync"),
    path("labelling/projects/<int:pk>/close", api.LabellingClose.as_view(), name="api-labelling-close"),
    path("labelling/projects/<int:pk>/bar", api.LabellingBar.as_view(), name="api-labelling-bar"),
    path("labelling/projects/<int:pk>/result", api.LabellingResult.as_view(), name="api-labelling-result"),
    path("labelling/projects/<int:pk>/train", api.LabellingTrain.as_view(), name="api-labelling-train"),
    path("labelling/projects/<int:pk>/tasks", api.LabelTaskList.as_view(), name="api-label-tasks"),
    path("labelling/projects/<int:pk>/tasks/<int:task>", api.LabelTaskDetail.as_view(), name="api-label-task"),
    path(
        "labelling/projects/<int:pk>/tasks/<int:task>/adjudicate",
        api.LabelTaskAdjudicate.as_view(),
        name="api-label-task-adjudicate",
    ),
    path(
        "labelling/projects/<int:pk>/tasks/<int:task>/reopen",
        api.LabelTaskReopen.as_view(),
        name="api-label-task-reopen",
    ),
    path("labelling/projects/<int:pk>/tasks/<int:task>/gold", api.LabelTaskGold.as_view(), name="api-label-task-gold"),
]
plane_urlpatterns = [path("labelling/hooks/<slug:hook_key>", api.LabellingHook.as_view(), name="api-labelling-hook")]

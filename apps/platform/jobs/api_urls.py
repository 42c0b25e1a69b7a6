from django.urls import path

from apps.platform.jobs import api, api_estimate, api_queues

urlpatterns = [
    path("jobs", api.JobList.as_view(), name="api-jobs"),
    path("jobs/estimate", api_estimate.JobEstimate.as_view(), name="api-job-estimate"),
    path("jobs/<int:pk>", api.JobDetail.as_view(), name="api-job"),
    path("jobs/<int:pk>/cancel", api.JobCancel.as_view(), name="api-job-cancel"),
    path("jobs/<int:pk>/retry", api.JobRetry.as_view(), name="api-job-retry"),
    path("jobs/<int:pk>/priority", api.JobPriority.as_view(), name="api-job-priority"),
    path("jobs/<int:pk>/wait", api.JobWait.as_view(), name="api-job-wait"),
    path("jobs/<int:pk>/log", api.JobLog.as_view(), name="api-job-log"),
    path("jobs/<int:pk>/log.txt", api.JobLogText.as_view(), name="api-job-log-text"),
    path("jobs/<int:pk>/events", api.JobEvents.as_view(), name="api-job-events"),
]

# Of the whole plane: controlplane/urls.py puts these under /api/v1/, the above under a project.
plane_urlpatterns = [
    path("kinds", api.KindList.as_view(), name="api-kinds"),
    path("queues", api_queues.QueueList.as_view(), name="api-queues"),
    path("queues/<str:queue>/samples", api_queues.QueueSamples.as_view(), name="api-queue-samples"),
]

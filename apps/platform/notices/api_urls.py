"""Below /api/v1/projects/<slug:project>/ webhooks; below /api/v1/ (plane_urlpatterns) one's own notices."""

from django.urls import path

from apps.platform.notices import api, api_webhooks

urlpatterns = [
    path("webhooks", api_webhooks.WebhookList.as_view(), name="api-webhooks"),
    path("webhooks/<int:pk>", api_webhooks.WebhookDetail.as_view(), name="api-webhook"),
    path("webhooks/<int:pk>/secret", api_webhooks.WebhookSecret.as_view(), name="api-webhook-secret"),
    path("webhooks/<int:pk>/enable", api_webhooks.WebhookEnable.as_view(), name="api-webhook-enable"),
    path("webhooks/<int:pk>/test", api_webhooks.WebhookTest.as_view(), name="api-webhook-test"),
    path("webhooks/<int:pk>/deliveries", api_webhooks.WebhookDeliveryList.as_view(), name="api-webhook-deliveries"),
]
plane_urlpatterns = [
    path("notices", api.NoticeList.as_view(), name="api-notices"),
    path("notices/read", api.NoticesRead.as_view(), name="api-notices-read"),
    path("notices/preferences", api.NoticePreferences.as_view(), name="api-notice-preferences"),
    path("notices/<int:pk>", api.NoticeDetail.as_view(), name="api-notice"),
]

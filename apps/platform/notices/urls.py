"""Pages below /p/<slug:project>/: webhooks. Pages of the plane (plane_urlpatterns): one's own notices."""

from django.urls import include, path

from apps.platform.notices import views, webhook_views

app_name = "notices"
urlpatterns = [
    path("webhooks", webhook_views.show_webhooks, name="webhooks"),
    path("webhooks/<int:pk>", webhook_views.show_webhook, name="webhook"),
    path("webhooks/<int:pk>/secret", webhook_views.renew_secret, name="renew_secret"),
    path("webhooks/<int:pk>/enable", webhook_views.enable, name="enable"),
    path("webhooks/<int:pk>/test", webhook_views.test, name="test"),
    path("webhooks/<int:pk>/delete", webhook_views.delete, name="delete"),
]
plane_urlpatterns = [
    path(
        "",
        include(
            (
                [
                    path("notices", views.show_notices, name="list"),
                    path("notices/read", views.mark_all_read, name="mark_all_read"),
                    path("notices/<int:pk>", views.open_notice, name="open"),
                    path("notices/<int:pk>/read", views.mark_read, name="mark_read"),
                    path("account/notices", views.show_preferences, name="preferences"),
                ],
                "inbox",
            )
        ),
    )
]

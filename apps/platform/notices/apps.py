from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "apps.platform.notices"

    def ready(self) -> None:
        """Register the kinds of notices that this app queues itself."""
        from apps.platform.notices.kinds import NOTICE_KINDS, WEBHOOK_DISABLED, WEBHOOK_DISABLED_KIND

        NOTICE_KINDS.register(WEBHOOK_DISABLED, WEBHOOK_DISABLED_KIND)

from django.apps import AppConfig


class SecurityAlarmsConfig(AppConfig):
    name = "apps.site.security_alarms"

    def ready(self) -> None:
        """Register the notice of an alarm."""
        from apps.platform.notices.kinds import NOTICE_KINDS
        from apps.site.security_alarms.notices import RAISED, RAISED_KIND

        NOTICE_KINDS.register(RAISED, RAISED_KIND)

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "apps.fleet.monitoring"

    def ready(self) -> None:
        """Register the notice that an alarm queues."""
        from apps.fleet.monitoring.notices import KINDS
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

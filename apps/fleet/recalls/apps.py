from django.apps import AppConfig


class RecallsConfig(AppConfig):
    name = "apps.fleet.recalls"

    def ready(self) -> None:
        """Register the notices that a recall sends."""
        from apps.fleet.recalls.notices import KINDS
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

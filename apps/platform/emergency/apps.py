from django.apps import AppConfig


class EmergencyConfig(AppConfig):
    name = "apps.platform.emergency"

    def ready(self) -> None:
        """Register the rights that grants lend, and the notices about them."""
        from apps.platform.accounts.emergency_rights import EMERGENCY_RIGHTS
        from apps.platform.emergency.notices import KINDS
        from apps.platform.emergency.queries import find_rights
        from apps.platform.notices.kinds import NOTICE_KINDS

        EMERGENCY_RIGHTS.register("emergency", find_rights)
        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

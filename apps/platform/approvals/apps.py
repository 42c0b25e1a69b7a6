from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "apps.platform.approvals"

    def ready(self) -> None:
        """Register the kinds of notices that approvals queue."""
        from apps.platform.approvals.notices import KINDS
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

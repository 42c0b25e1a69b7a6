from django.apps import AppConfig


class CommentsConfig(AppConfig):
    name = "apps.platform.comments"

    def ready(self) -> None:
        """Register the kinds of notices that comments queue."""
        from apps.platform.comments.notices import KINDS
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

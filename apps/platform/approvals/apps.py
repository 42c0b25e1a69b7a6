from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "apps.platform.approvals"

    def ready(self) -> None:
        """Register the kinds of notices that approvals queue, and that they have comments."""
        from apps.platform.approvals.commenting import APPROVAL_COMMENTS
        from apps.platform.approvals.notices import KINDS
        from apps.platform.comments.objects import COMMENT_OBJECTS
        from apps.platform.notices.kinds import NOTICE_KINDS

        COMMENT_OBJECTS.register("approval", APPROVAL_COMMENTS)

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "apps.platform.approvals"

    def ready(self) -> None:
        """Register the kinds of notices that approvals queue, that they have comments, and their names."""
        from apps.platform.approvals.audit_names import name_approvals
        from apps.platform.approvals.commenting import APPROVAL_COMMENTS
        from apps.platform.approvals.notices import KINDS
        from apps.platform.audit.naming.object_names import OBJECT_NAMES
        from apps.platform.comments.objects import COMMENT_OBJECTS
        from apps.platform.notices.kinds import NOTICE_KINDS

        COMMENT_OBJECTS.register("approval", APPROVAL_COMMENTS)
        OBJECT_NAMES.register("approval", name_approvals)

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

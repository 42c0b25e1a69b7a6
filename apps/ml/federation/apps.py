from django.apps import AppConfig


class FederationConfig(AppConfig):
    name = "apps.ml.federation"

    def ready(self) -> None:
        """Register what the apps below cannot import: the participation of a site as something to be approved,
        and the kinds of notices."""
        from apps.ml.federation.facts import SUBJECT
        from apps.ml.federation.notices import KINDS
        from apps.ml.federation.subject import PARTICIPATION
        from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
        from apps.platform.notices.kinds import NOTICE_KINDS

        APPROVAL_SUBJECTS.register(SUBJECT, PARTICIPATION)
        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

from django.apps import AppConfig


class FederationConfig(AppConfig):
    name = "apps.ml.federation"

    def ready(self) -> None:
        """Register what the apps below cannot import: the participation of a site as something to be approved."""
        from apps.ml.federation.facts import SUBJECT
        from apps.ml.federation.subject import PARTICIPATION
        from apps.platform.approvals.subjects import APPROVAL_SUBJECTS

        APPROVAL_SUBJECTS.register(SUBJECT, PARTICIPATION)

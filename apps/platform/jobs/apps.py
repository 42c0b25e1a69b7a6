from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.platform.jobs"

    def ready(self) -> None:
        """Register the kind of notice that jobs queue."""
        from apps.platform.jobs.failure_notices import FAILED, FAILED_KIND
        from apps.platform.notices.kinds import NOTICE_KINDS

        NOTICE_KINDS.register(FAILED, FAILED_KIND)

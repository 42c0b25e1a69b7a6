from django.apps import AppConfig


class CalendarsConfig(AppConfig):
    name = "apps.platform.calendars"

    def ready(self) -> None:
        """Register jobs and probes as targets, the notice of a schedule that failed, and the artifacts they need."""
        from apps.platform.artifacts.garbage import ARTIFACT_CITATIONS
        from apps.platform.calendars.citations import find_cited_artifacts
        from apps.platform.calendars.job_target import JOB_TARGET
        from apps.platform.calendars.notices import SCHEDULE_FAILED, SCHEDULE_FAILED_KIND
        from apps.platform.calendars.probe_target import PROBE_TARGET
        from apps.platform.calendars.targets import SCHEDULE_TARGETS
        from apps.platform.notices.kinds import NOTICE_KINDS

        ARTIFACT_CITATIONS.register("schedules", find_cited_artifacts)
        SCHEDULE_TARGETS.register("job", JOB_TARGET)
        SCHEDULE_TARGETS.register("probe", PROBE_TARGET)
        NOTICE_KINDS.register(SCHEDULE_FAILED, SCHEDULE_FAILED_KIND)

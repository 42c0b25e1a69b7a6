from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    name = "apps.site.compliance"

    def ready(self) -> None:
        """Register what a schedule of the plane can submit."""
        from apps.platform.calendars.targets import SCHEDULE_TARGETS
        from apps.site.compliance.schedule_targets import EVIDENCE, EVIDENCE_TARGET

        SCHEDULE_TARGETS.register(EVIDENCE, EVIDENCE_TARGET)

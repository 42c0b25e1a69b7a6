from django.apps import AppConfig


class SnapshotsConfig(AppConfig):
    name = "apps.site.snapshots"

    def ready(self) -> None:
        """Register what a schedule of the plane can submit."""
        from apps.platform.calendars.targets import SCHEDULE_TARGETS
        from apps.site.snapshots.schedule_targets import DRILL, DRILL_TARGET, SNAPSHOT, SNAPSHOT_TARGET

        SCHEDULE_TARGETS.register(SNAPSHOT, SNAPSHOT_TARGET)
        SCHEDULE_TARGETS.register(DRILL, DRILL_TARGET)

from django.apps import AppConfig


class PipelinesConfig(AppConfig):
    name = "apps.ml.pipelines"

    def ready(self) -> None:
        """Register pipelines as a target of schedules."""
        from apps.ml.pipelines.schedule_target import PIPELINE_TARGET
        from apps.platform.calendars.targets import SCHEDULE_TARGETS

        SCHEDULE_TARGETS.register("pipeline", PIPELINE_TARGET)

from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "apps.fleet.rollouts"

    def ready(self) -> None:
        """Register what the apps below cannot import: rollouts as something to be approved, the notices that they
        queue, the versions that they need, and their names."""
        from apps.fleet.rollouts.audit_names import name_rollouts
        from apps.fleet.rollouts.citations import find_version_use
        from apps.fleet.rollouts.facts import SUBJECT
        from apps.fleet.rollouts.notices import KINDS
        from apps.fleet.rollouts.subject import ROLLOUT
        from apps.ml.registry.services.deletion_guards import VERSION_USES
        from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
        from apps.platform.audit.naming.object_names import OBJECT_NAMES
        from apps.platform.notices.kinds import NOTICE_KINDS

        APPROVAL_SUBJECTS.register(SUBJECT, ROLLOUT)
        OBJECT_NAMES.register("rollout", name_rollouts)
        VERSION_USES.register("rollouts", find_version_use)
        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)

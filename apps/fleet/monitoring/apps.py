from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "apps.fleet.monitoring"

    def ready(self) -> None:
        """Register the notices, and the evidence that a version was trained for an alarm."""
        from apps.fleet.monitoring.notices import KINDS
        from apps.fleet.monitoring.retraining.evidence import find_promotion_evidence
        from apps.fleet.monitoring.retraining.presenters import build_evidence_context
        from apps.ml.registry.promotion.evidence import PROMOTION_EVIDENCE, PromotionEvidence
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)
        evidence = PromotionEvidence(
            find=find_promotion_evidence,
            template="monitoring/promotion_evidence.html",
            build_context=build_evidence_context,
        )
        PROMOTION_EVIDENCE.register("retraining", evidence)

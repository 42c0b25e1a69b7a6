from django.apps import AppConfig


class TransferConfig(AppConfig):
    name = "apps.site.transfer"

    def ready(self) -> None:
        """Register what is applied, and whose signature counts, as things to be approved."""
        from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
        from apps.site.transfer.subjects import BUNDLE, SIGNER

        APPROVAL_SUBJECTS.register("bundle", BUNDLE)
        APPROVAL_SUBJECTS.register("bundle_signer", SIGNER)

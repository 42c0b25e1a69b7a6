"""The forms of the pages. They read text and files; what is allowed the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from apps.core.errors import PlaneError
from apps.core.messages import translate_error
from apps.site.transfer.export.selection import FORMS
from apps.site.transfer.models import BundleSigner
from apps.site.transfer.services.signers import DEFAULT_VALID_DAYS, MAX_VALID_DAYS
from deepseek.bundles.spec import DEFAULT_VOLUME_BYTES, MIN_VOLUME_BYTES

MEGABYTE = 1_000_000


class BuildForm(forms.Form):
    contents = forms.CharField(
        label=_("Contents"),
        help_text=FORMS,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "placeholder": "model/wti-forecast:v3"}),
    )
    inventory = forms.FileField(
        label=_("Inventory of the target"),
        help_text=_("Exported there: deepseek bundle inventory, or its page Transfer."),
    )
    volume_megabytes = forms.IntegerField(
        label=_("Largest volume, in MB"),
        initial=DEFAULT_VOLUME_BYTES // MEGABYTE,
        min_value=-(-MIN_VOLUME_BYTES // MEGABYTE),
        max_value=1_000_000,
    )

    def list_contents(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["contents"].splitlines() if line.strip()]


class ReceiveForm(forms.Form):
    envelope = forms.FileField(
        label=_("Signatures"), help_text=_("bundle.dsse.json of the folder that was carried in.")
    )


class VolumeForm(forms.Form):
    volume = forms.FileField(label=_("Volume"), help_text=_("volume-0001.tar and so on; one after another."))


class SignerForm(forms.Form):
    signer = forms.FileField(
        label=_("Public key"), help_text=_("The .pub.json that the person made: deepseek bundle keygen.")
    )
    source_id = forms.CharField(
        label=_("Id of the source plane"), help_text=_("32 hex digits; the source's page Transfer shows it.")
    )
    source_name = forms.CharField(label=_("Name of the source plane"), max_length=200)
    valid_days = forms.IntegerField(
        label=_("Trusted for, in days"), initial=DEFAULT_VALID_DAYS, min_value=1, max_value=MAX_VALID_DAYS
    )
    replaces = forms.ModelChoiceField(
        BundleSigner.objects.none(),
        label=_("Replaces"),
        required=False,
        help_text=_("An older key of the same person: it is revoked once this one is trusted."),
    )
    comment = forms.CharField(label=_("Comment"), max_length=2000, required=False)

    def __init__(self, *args: Any, signers: QuerySet[BundleSigner], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["replaces"].queryset = signers  # type: ignore[attr-defined]


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=500)


def show_fault(form: forms.Form, error: PlaneError, fields: dict[str, str] | None = None) -> None:
    """Put an error of a service beside the field that it is about, with the remedy."""
    place = (error.field or "").strip("/").partition("/")[0]
    name: Any = (fields or {}).get(place, place)
    form.add_error(name if name in form.fields else None, translate_error(error))

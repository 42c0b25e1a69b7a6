"""The forms of the pages of notices. They read text; what is allowed the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.platform.notices.kinds import NOTICE_KINDS, list_webhook_kinds
from apps.platform.notices.validation import MAX_NAME_LENGTH, MAX_URL_LENGTH


def list_kind_choices() -> list[tuple[str, str]]:
    return [(key, f"{NOTICE_KINDS[key].label} ({key})") for key in list_webhook_kinds()]


class WebhookForm(forms.Form):
    name = forms.CharField(max_length=MAX_NAME_LENGTH, label=_("Name"), help_text=_("Unique in the project."))
    url = forms.CharField(
        max_length=MAX_URL_LENGTH,
        label=_("Address"),
        help_text=_("http(s)://host[:port]/path, of a host that the operator allows (NOTICE_HOSTS)."),
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )
    kinds = forms.MultipleChoiceField(
        required=False,
        label=_("Kinds of notices"),
        choices=list_kind_choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: every kind, later ones too."),
    )


class AddressForm(forms.Form):
    email = forms.EmailField(
        max_length=254,
        required=False,
        label=_("Address"),
        help_text=_("Mails name what it is about and hold a link, no data. Empty: no mail."),
    )


def read_choices(data: Any, channels: list[str]) -> dict[str, dict[str, bool]]:
    """What the table of kinds and channels was sent as: a ticked box is `kind:channel`, of kinds that it showed."""
    kinds = [kind for kind in data.getlist("kind") if kind in NOTICE_KINDS]
    ticked = set(data.getlist("on"))
    return {kind: {channel: f"{kind}:{channel}" in ticked for channel in channels} for kind in kinds}

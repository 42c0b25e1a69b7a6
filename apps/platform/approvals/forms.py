"""The forms of the pages of approvals. They read text; what is allowed the services decide."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.platform.approvals.terms import DEADLINE_HOURS_RANGE, NEEDED_RANGE
from apps.platform.approvals.validation import MAX_REASON_LENGTH

AS_WRITTEN = gettext_lazy("Recorded in the audit trail as written.")


def build_reason_field(**more: Any) -> forms.CharField:
    box = forms.Textarea(attrs={"rows": 3})
    return forms.CharField(
        max_length=MAX_REASON_LENGTH, label=gettext_lazy("Reason"), help_text=AS_WRITTEN, widget=box, **more
    )


class VoteForm(forms.Form):
    """Which facts were seen, why, and the proof that it is this person, in the very request that decides."""

    facts_digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    reason = build_reason_field()
    password = forms.CharField(
        max_length=1000, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )
    code = forms.CharField(
        max_length=40,
        label=gettext_lazy("Code of your authenticator app"),
        help_text=gettext_lazy("6 digits, or a recovery code"),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )

    def __init__(self, *args: Any, person: str, factors: frozenset[str], **kwargs: Any) -> None:
        """`factors`: those that the person has. A security key is touched on a page of its own, and counts for minutes:
        the code may then stay empty, and whether it may is for the proof to say.
        """
        super().__init__(*args, **kwargs)
        self.with_key = "webauthn" in factors
        self.fields["password"].label = _("Password of %(person)s") % {"person": person}
        if not factors:
            del self.fields["code"]
        elif self.with_key:
            self.fields["code"].required = False
            if "totp" not in factors:
                self.fields["code"].label = _("Recovery code, where the key is lost")
                self.fields["code"].help_text = ""


class WithdrawForm(forms.Form):
    reason = build_reason_field()


class AnswerForm(forms.Form):
    text = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        label=gettext_lazy("Your answer"),
        help_text=gettext_lazy("The approvers read it. Goes into the audit trail as written."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )


class PolicyForm(forms.Form):
    needed = forms.IntegerField(
        label=gettext_lazy("Approvals needed"),
        min_value=NEEDED_RANGE[0],
        max_value=NEEDED_RANGE[1],
        help_text=gettext_lazy("1 to 10, of different people; who asks never counts."),
    )
    deadline_hours = forms.IntegerField(
        label=gettext_lazy("Hours until it expires"),
        min_value=DEADLINE_HOURS_RANGE[0],
        max_value=DEADLINE_HOURS_RANGE[1],
        help_text=gettext_lazy("1 to 720. Who asks may set fewer."),
    )
    reason = build_reason_field()

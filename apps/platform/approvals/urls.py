"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.platform.approvals import lists, views

APPROVAL = "approvals/<int:pk>"

app_name = "approvals"
urlpatterns = [
    path("approvals", lists.show_approvals, name="list"),
    path("approvals/policy", views.show_policies, name="policies"),
    path(APPROVAL, views.show_approval, name="detail"),
    *(path(f"{APPROVAL}/{tab}", views.show_approval, {"tab": tab}, name=tab) for tab in views.TABS[1:]),
    path(f"{APPROVAL}/decide", views.decide, name="decide"),
    path(f"{APPROVAL}/answer", views.answer, name="answer"),
    path(f"{APPROVAL}/seen", views.dismiss_changes, name="seen"),
    path(f"{APPROVAL}/withdraw", views.withdraw, name="withdraw"),
]

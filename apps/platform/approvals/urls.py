"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.platform.approvals import lists, views

APPROVAL = "approvals/<int:pk>"

app_name = "approvals"
urlpatterns = [
    path("approvals", lists.approval_list, name="list"),
    path("approvals/policy", views.policies, name="policies"),
    path(APPROVAL, views.approval_page, name="detail"),
    *(path(f"{APPROVAL}/{tab}", views.approval_page, {"tab": tab}, name=tab) for tab in views.TABS[1:]),
    path(f"{APPROVAL}/decide", views.decide, name="decide"),
    path(f"{APPROVAL}/answer", views.answer, name="answer"),
    path(f"{APPROVAL}/seen", views.seen, name="seen"),
    path(f"{APPROVAL}/withdraw", views.withdraw, name="withdraw"),
]

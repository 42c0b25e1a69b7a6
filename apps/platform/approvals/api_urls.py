"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.platform.approvals import api

APPROVAL = "approvals/<int:pk>"

urlpatterns = [
    path("approvals", api.ApprovalList.as_view(), name="api-approvals"),
    path(APPROVAL, api.ApprovalDetail.as_view(), name="api-approval"),
    path(f"{APPROVAL}/approve", api.ApprovalApprove.as_view(), name="api-approval-approve"),
    path(f"{APPROVAL}/reject", api.ApprovalReject.as_view(), name="api-approval-reject"),
    path(f"{APPROVAL}/ask", api.ApprovalAsk.as_view(), name="api-approval-ask"),
    path(f"{APPROVAL}/answer", api.ApprovalAnswer.as_view(), name="api-approval-answer"),
    path(f"{APPROVAL}/withdraw", api.ApprovalWithdraw.as_view(), name="api-approval-withdraw"),
    path("approval-policies", api.ApprovalPolicyList.as_view(), name="api-approval-policies"),
    path("approval-policies/<str:subject_type>", api.ApprovalPolicyDetail.as_view(), name="api-approval-policy"),
]

"""A version made from a form that lost too much accuracy is not promoted, and its page says why."""

import json

import pytest

from apps.core.errors import Conflict
from apps.ml.registry.promotion.allowance import list_exceeded_losses
from apps.ml.registry.promotion.release_readiness import check_losses
from apps.ml.registry.services import request_promotion
from apps.platform.approvals.models import Approval


def build_allowance(loss, limit=0.5, unit="points", metric="accuracy"):
    lost = {"metric": metric, "value": loss, "low": 0.0, "high": loss, "unit": unit}
    allowed = {"metric": metric, "limit": limit, "unit": unit}
    return {"allowance": {"loss": lost, "allowed": allowed, "exceeded": loss > limit}}


@pytest.mark.django_db
def test_a_version_with_such_a_form_is_refused(registered, actor_for, engineer, approver):
    lossy = registered(more={"int8": build_allowance(2.0)})
    with pytest.raises(Conflict) as caught:
        request_promotion(actor=actor_for(engineer), version=lossy)
    error = caught.value
    assert (error.code, error.field) == ("accuracy_lost", "variants/int8")
    assert "int8 lost 2.00 points of accuracy against fp32, and 0.5 are allowed" in str(error)
    assert not Approval.objects.exists()
    kept = registered(more={"int8": build_allowance(0.4)})
    facts = json.loads(request_promotion(actor=actor_for(engineer), version=kept).facts)
    assert facts["candidate"]["variants"]["int8"]["allowance"]["loss"]["value"] == 0.4


def test_what_the_page_says():
    forms = {"fp32": {}, "int8": build_allowance(0.1), "int8-onnx": build_allowance(3.0, 1.0, "percent", "rmse")}
    (exceeded,) = list_exceeded_losses(forms.items())
    assert (exceeded.name, exceeded.loss, exceeded.limit) == ("int8-onnx", 3.0, 1.0)
    rows = [{"name": name, **figures} for name, figures in forms.items()]
    (check,) = check_losses(rows)
    assert (check.state, check.text) == ("failed", "int8-onnx has 3.00 % more rmse than fp32, and 1 % are allowed.")
    assert [check.state for check in check_losses(rows[:2])] == ["pass"]
    assert check_losses(rows[:1]) == []

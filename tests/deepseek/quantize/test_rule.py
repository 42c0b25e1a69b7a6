"""The rule that recommends, over tables of forms."""

from deepseek.models.figures import AccuracyLoss, AllowedLoss, Metric
from deepseek.quantize.document import BatchDependence, VariantFigures, VariantTiming
from deepseek.quantize.rule import compute_loss, recommend_variant

ALLOWED = AllowedLoss(metric="accuracy", limit=0.5, unit="points")


def build_form(name, us, loss=0.0, high=None, size=100, has_file=True):
    """A form that takes `us` microseconds and loses `loss` points, at most `high`."""
    bounds = {"low": min(loss, 0.0), "high": loss if high is None else high}
    return VariantFigures(
        name=name,
        precision=name[:4],
        method="",
        runtime="torch",
        format="onnx",
        slot=name if has_file else None,
        path=None,
        sha256=None,
        size_bytes=size,
        size_ratio=1.0,
        memory_bytes=0,
        timings=[VariantTiming(batch=1, threads=1, runs=10, p50_us=us, p95_us=us, ratio=100 / us)],
        metrics=[],
        difference=[],
        loss=AccuracyLoss(metric="accuracy", value=loss, unit="points", **bounds),
        max_relative_error=0.0,
        batch_dependence=BatchDependence(depends=False, largest=0.0, rows=1, batches=[1]),
        verdict="parent",
        promotable=True,
    )


PARENT, SCRIPT = build_form("fp32", 100, has_file=False), build_form("fp32-torchscript", 90, size=400)
TABLE = {
    "the fastest": ([build_form("int8", 50), build_form("int8-onnx", 20)], "offered recommended"),
    "of those as fast the smallest": (
        [build_form("int8", 23, size=90), build_form("int8-onnx", 20, size=100)],
        "recommended offered",
    ),
    "one that lost too much is not": ([build_form("int8", 20, loss=0.6)], "loses_accuracy"),
    "one that lost as much as is allowed is": ([build_form("int8", 20, loss=0.5)], "recommended"),
    "one that the rows do not clear is not": ([build_form("int8", 20, loss=0.1, high=0.7)], "uncertain"),
    "a slower one is not": ([build_form("int8", 101)], "slower"),
    "one without a file is not": ([build_form("int8", 20, has_file=False)], "offered"),
}


def test_the_verdicts():
    wrong = []
    for name, (forms, expected) in TABLE.items():
        variants = recommend_variant([PARENT, SCRIPT, *forms], ALLOWED)
        verdicts = " ".join(form.verdict for form in variants[2:])
        fallback = "offered" if "recommended" in expected else "recommended"
        promotable = [form.promotable for form in variants[2:]]
        wanted = [form.slot is not None and form.loss.value <= 0.5 for form in forms]
        found = (variants[0].verdict, verdicts, variants[1].verdict, promotable)
        if found != ("parent", expected, fallback, wanted):
            wrong.append((name, found))
    assert wrong == []


def test_nothing_is_faster_than_the_parent():
    """The fastest form in fp32 is the result, and it is still said to be slower by its ratio."""
    slow = [build_form("fp32-torchscript", 120), build_form("fp32-onnx", 110), build_form("int8", 130)]
    verdicts = [form.verdict for form in recommend_variant([PARENT, *slow], ALLOWED)]
    assert verdicts == ["parent", "slower", "recommended", "slower"]


def test_losses():
    """Points of a share, percent of an error; nothing is known where the metric is not defined."""

    def build_metric(name, value, low=0.0, high=0.0, better="higher"):
        return Metric(name=name, value=value, low=low, high=high, better=better)

    accuracy = compute_loss(
        [build_metric("accuracy", 0.9)], [build_metric("accuracy", -0.02, -0.03, 0.01)], "classification"
    )
    assert (accuracy.unit, round(accuracy.value, 9), round(accuracy.low, 9), round(accuracy.high, 9)) == (
        *("points", 2.0),
        *(-1.0, 3.0),
    )
    error = compute_loss([build_metric("rmse", 4.0)], [build_metric("rmse", 0.2, -0.1, 0.4, "lower")], "regression")
    assert (error.unit, error.value, error.low, error.high) == ("percent", 5.0, -2.5, 10.0)
    unknown = compute_loss([], [], "entities")
    assert (unknown.metric, unknown.low, unknown.high) == ("f1", 0.0, 100.0)

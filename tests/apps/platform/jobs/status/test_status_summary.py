"""The sentence that a job's page opens with: what the job will make, and what it made."""

from apps.platform.jobs.models import Job
from apps.platform.jobs.status.status_summary import describe_expected_outputs, summarize_cleaning, summarize_succeeded


def test_a_job_names_what_it_will_make():
    answers = [
        describe_expected_outputs(Job(kind=kind, register=register))
        for kind, register in (("noop", {}), ("clean", {"dataset": "wti"}), ("train", {"model": "oil"}), ("gone", {}))
    ]
    assert answers == [
        "It will make: note, echo.",
        "It will make a version of the dataset wti.",
        "It will register a version of the model oil.",
        "",
    ]


def test_a_job_that_registered_a_model_names_it(running, succeed):
    running.register = {"model": "oil"}
    job = succeed(running)
    job.register = {"model": "oil"}
    assert "It registered a version of the model oil." in summarize_succeeded(job, str)


def test_a_cleaned_table_is_summed_up():
    result = {"filled": {"a": 1000, "b": 234}, "still_missing": {"a": 0, "b": 5}}
    assert summarize_cleaning(Job(result=result)) == "<b>1,234 values filled, 5 still missing.</b>"

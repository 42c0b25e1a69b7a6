"""What is read from the source as a message."""

from pathlib import Path

import pytest
from django.core.management import call_command

from apps.texts.collecting import Source, numbered
from controlplane.management.commands import collect_texts


def messages(tmp_path: Path, text: str) -> set[str]:
    path = tmp_path / "source.py"
    path.write_text(text)
    return Source.of([path], ["Invalid"]).messages()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('Invalid("Nothing fits here.")', {"Nothing fits here."}),
        ('Invalid(f"The name {x!r} is taken.", hint="Choose another.")', {"The name {0} is taken.", "Choose another."}),
        ('Invalid("It is so " + ("today." if x else "tomorrow."))', {"It is so today.", "It is so tomorrow."}),
        ('EngineError("code_word", "The table is empty.")', {"The table is empty."}),
        ('{"message": "It went wrong.", "code": "bad_thing"}', {"It went wrong."}),
        ('PydanticCustomError("bad", "The value {value} fails.", {})', {"The value {0} fails."}),
        ('Invalid(_("Marked by its author."))', set()),
        ('Invalid(f"{x} is {y}.")', set()),
        ('print("Only a line of a log.")', set()),
    ],
)
def test_forms(tmp_path: Path, source: str, expected: set[str]) -> None:
    assert messages(tmp_path, source) == expected


def test_a_name_is_followed(tmp_path: Path) -> None:
    source = 'def f():\n    text = "It came by a name."\n    raise Invalid(text)\n'
    assert messages(tmp_path, source) == {"It came by a name."}


def test_a_function_that_hands_its_message_on_is_followed(tmp_path: Path) -> None:
    source = 'def wrong(why):\n    return Invalid(why)\n\ndef f():\n    raise wrong("Said to another function.")\n'
    assert messages(tmp_path, source) == {"Said to another function."}


def test_braces_of_the_text_stay_braces() -> None:
    assert numbered('Send {"a": 1} to \0.') == 'Send {{"a": 1}} to {0}.'


def test_the_lists_are_what_the_source_says() -> None:
    call_command("collect_texts", "--check")


def test_an_old_list_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_texts, "FOLDER", collect_texts.ROOT / "docs")
    monkeypatch.setattr(collect_texts, "lists", lambda: {"install.md": "something else"})
    with pytest.raises(collect_texts.CommandError, match=r"docs/install\.md is old"):
        call_command("collect_texts", "--check")


def test_reasons_of_moves_and_notes_are_messages(tmp_path: Path) -> None:
    source = 'def f():\n    record_move(job, f"Claimed by {n}")\n'
    source += '    notes = ["It is slow."]\n    notes.append("Big code!")\n'
    assert messages(tmp_path, source) == {"Claimed by {0}", "It is slow.", "Big code!"}


def test_a_text_inside_another_is_one_of_its_own(tmp_path: Path) -> None:
    source = 'def f(n):\n    kept = f"step {n} is kept"\n    raise Invalid(f"It stopped; {kept}.")\n'
    assert messages(tmp_path, source) == {"It stopped; {0}.", "step {0} is kept"}

"""Patterns that the check cannot read, or refuses and that stay, each with the reason. Nothing else is excused."""

MADE_WHILE_RUNNING = {
    "deepseek/quality/expectations_spec.py::_check_pattern": "A user's pattern of up to 500 characters: compiled to be "
    "checked, never run here; RE2 runs it.",
    **dict.fromkeys(
        (
            "deepseek/doctor/groups/python.py::outside",
            "deepseek/doctor/groups/storage.py::pattern",
            "deepseek/doctor/groups/system.py::outside",
        ),
        "Of checks.toml, or of the settings of whoever runs the doctor; run on single lines.",
    ),
}
"""Their text is not constant."""

STAYS = {
    "apps/web/zh_typography.py::ROOM": "Reads the pages that this process rendered: what people typed is escaped in "
    "them, so every < opens a tag that is closed. benchmarks/hostile_input.py measures it.",
}
"""Refused, and linear on what they get to see."""

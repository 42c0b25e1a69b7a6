import re

import pytest

from apps.web.templatetags.shell_commands import wrap_words


def test_every_word_is_whole_and_the_space_between_is_kept():
    shown = wrap_words("curl -f \\\n  --create-dirs a")
    assert re.findall("<span>(.*?)</span>", shown) == ["curl", "-f", "\\", "--create-dirs", "a"]
    assert re.sub("<.*?>", "", shown) == "curl -f \\\n  --create-dirs a"


@pytest.mark.parametrize(
    ("command", "shown"), [("", ""), ("a<b", "<span>a&lt;b</span>"), (" a\n", " <span>a</span>\n")]
)
def test_what_is_shown_is_text(command, shown):
    assert wrap_words(command) == shown

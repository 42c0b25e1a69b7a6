"""What the run imported is set aside for good; what tests leave behind is still collected."""

import gc


def test_collector_is_on_and_skips_what_was_there_before_the_tests():
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000

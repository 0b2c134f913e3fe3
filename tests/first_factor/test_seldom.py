"""Lines that strangers can cause do not fill the log, and none is lost from the count."""

import logging

import pytest

from first_factor.seldom import EVERY, Seldom


def test_one_line_at_once_then_one_a_while_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    seldom = Seldom(logging.getLogger("test"), lambda: now[0])
    for _ in range(1000):
        seldom.error("no answer: %s", "100 %s")
    now[0] += EVERY
    seldom.error("no answer: %s", "late")
    now[0] += EVERY
    seldom.error("no answer: %s", "later")
    assert caplog.messages == ["no answer: 100 %s", "no answer: late (999 more before)", "no answer: later"]

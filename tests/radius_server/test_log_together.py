"""Lines of logins that were decided together: written by few calls, none lost, each as if it were alone."""

import io
import json
import logging
import time
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from radius_server.log import TEXT, WRITTEN_AT_ONCE, JsonFormatter, Line, TextFormatter, line, log, log_together


class Stream(io.StringIO):
    """With a handler of its own. Knows how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.handler = logging.StreamHandler(self)
        self.handler.setFormatter(TextFormatter())

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    return Stream()


def log_to(stream: Stream, lines: Sequence[Line], level: int = logging.INFO) -> None:
    """To this stream alone."""
    before = log.level
    try:
        log.setLevel(level)
        with patch.multiple(log, handlers=[stream.handler], propagate=False):
            log_together(lines)
    finally:
        log.setLevel(before)


def accepts(count: int, **values: object) -> list[Line]:
    return [line("accept", user=f"user{number}", **values) for number in range(count)]


def test_many_lines_are_one_write(stream: Stream) -> None:
    log_to(stream, accepts(20))
    assert len(stream.writes) == 1
    lines = stream.getvalue().splitlines()
    assert [text.split(" INFO ")[1] for text in lines] == [f"accept user=user{number}" for number in range(20)]
    assert len({text.split(" INFO ")[0] for text in lines}) == 1


def test_no_lines_are_no_write(stream: Stream) -> None:
    log_to(stream, [])
    assert stream.writes == []


@pytest.mark.parametrize("name", ["alice", "\u00e4" * 100], ids=["ASCII", "longer as octets"])
def test_a_write_holds_what_a_pipe_keeps_whole_and_whole_lines(stream: Stream, name: str) -> None:
    log_to(stream, accepts(200, name=name))
    assert 1 < len(stream.writes) < 20
    assert all(len(text.encode()) <= WRITTEN_AT_ONCE and text.endswith("\n") for text in stream.writes)
    assert len(stream.getvalue().splitlines()) == 200


def test_a_line_that_is_longer_is_written_alone(stream: Stream) -> None:
    long = line("accept", **{f"value{number}": "x" * 200 for number in range(40)})
    log_to(stream, [*accepts(1), long, *accepts(1)])
    assert [len(text) > WRITTEN_AT_ONCE for text in stream.writes] == [False, True, False]


def test_a_line_looks_as_logging_itself_would_write_it() -> None:
    ours, theirs = TextFormatter(), logging.Formatter(TEXT)
    for second in (0.0, 86_399.999, 1_752_451_200.0, 1_752_451_200.0005, 1_752_451_200.9996, time.time()):
        record = log.makeRecord(log.name, logging.INFO, "", 0, line("accept", user="alice"), (), None)
        record.created, record.msecs = second, (second - int(second)) * 1000
        assert ours.format(record) == theirs.format(record)


def test_as_json_each_line_is_an_object(stream: Stream) -> None:
    stream.handler.setFormatter(JsonFormatter())
    log_to(stream, accepts(3))
    found = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [one["user"] for one in found] == ["user0", "user1", "user2"]
    assert {one["event"] for one in found} == {"accept"}


def test_a_line_that_cannot_be_written_takes_no_other_with_it(
    stream: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unspeakable(Line):
        def __str__(self) -> str:
            raise ValueError("cannot be said")

    log_to(stream, [*accepts(1), Unspeakable("accept", {"user": "mallory"}), *accepts(1)])
    assert [text.split(" INFO ")[1] for text in stream.getvalue().splitlines()] == ["accept user=user0"] * 2
    assert "cannot be said" in capsys.readouterr().err


def test_a_stream_that_cannot_be_written_is_told_and_raises_nothing(
    stream: Stream, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(text: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stream, "write", full)
    log_to(stream, accepts(2))
    assert "No space left on device" in capsys.readouterr().err


def test_nothing_waits_in_memory(stream: Stream) -> None:
    """The write is done when the call returns, so replies leave after their lines are written."""
    log_to(stream, accepts(1))
    assert stream.getvalue().endswith("accept user=user0\n")


def test_levels_and_filters_hold(stream: Stream) -> None:
    stream.handler.setLevel(logging.WARNING)
    log_to(stream, accepts(1))
    assert stream.writes == []
    stream.handler.setLevel(logging.INFO)
    stream.handler.addFilter(lambda record: "user1" not in record.getMessage())
    log_to(stream, accepts(3))
    assert [text[-6:-1] for text in stream.getvalue().splitlines(keepends=True)] == ["user0", "user2"]
    log_to(stream, accepts(3), logging.WARNING)
    assert len(stream.getvalue().splitlines()) == 2


def test_other_handlers_get_a_record_for_each_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_together(accepts(3))
    assert caplog.messages == ["accept user=user0", "accept user=user1", "accept user=user2"]
    assert {record.levelname for record in caplog.records} == {"INFO"}

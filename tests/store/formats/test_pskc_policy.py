"""What the file demands of us, and dates (RFC 6030 5)."""

from datetime import UTC, datetime

import pytest

from store.formats.reading import Seed
from tests.store.formats.pskc_files import container, key, only_bad, only_seed, package


def _bad_field(policy: str) -> str:
    bad = only_bad(container(package(key(policy=policy))))
    assert "not usable" in bad.text
    assert bad.place == "KeyPackage 1 (SerialNo 987654321)"
    return bad.field


@pytest.mark.statement("O-104")
@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ("<NumberOfTransactions>4321</NumberOfTransactions>", "NumberOfTransactions"),
        ("<NumberOfTransactions>0</NumberOfTransactions>", "NumberOfTransactions"),
        ("<KeyUsage>CR</KeyUsage>", "KeyUsage"),
        ("<KeyUsage>Encrypt</KeyUsage><KeyUsage>Integrity</KeyUsage>", "KeyUsage"),
        ("<KeyUsage/>", "KeyUsage"),
        ("<KeyUsage>OTP</KeyUsage><OnWeekDaysOnly/>", "Policy"),
        ('<KeyUsage>OTP</KeyUsage><x:KeyUsage xmlns:x="urn:x">OTP</x:KeyUsage>', "Policy"),
        ('<PINPolicy PINUsageMode="Local" OnWeekDaysOnly="TRUE"/>', "Policy"),
        ('<PINPolicy PINUsageMode="Local"><Foo>Bar</Foo></PINPolicy>', "Policy"),
        ('<PINPolicy PINUsageMode="Prepend"/>', "PINPolicy"),
        ('<PINPolicy PINUsageMode="Append"/>', "PINPolicy"),
        ('<PINPolicy PINUsageMode="Algorithmic"/>', "PINPolicy"),
        ('<PINPolicy PINUsageMode="Sometimes"/>', "PINPolicy"),
    ],
)
def test_a_key_that_may_not_be_used_as_we_use_it_is_refused(policy: str, field: str) -> None:
    assert _bad_field(policy) == field


@pytest.mark.statement("O-104")
def test_a_second_policy_does_not_hide_behind_the_first() -> None:
    rest = "<Policy><KeyUsage>CR</KeyUsage></Policy>"
    assert only_bad(container(package(key(policy="<KeyUsage>OTP</KeyUsage>", rest=rest)))).field == "Policy"


@pytest.mark.statement("O-104")
def test_what_is_allowed_among_others_is_allowed() -> None:
    assert only_seed(container(package(key(policy="<KeyUsage>CR</KeyUsage><KeyUsage>OTP</KeyUsage>")))).notes == ()


def test_a_pin_that_the_device_asks_for_is_noted() -> None:
    seed = only_seed(container(package(key(policy='<PINPolicy PINUsageMode="Local" MinLength="4"/>'))))
    assert any("PIN of its own" in note for note in seed.notes)
    seed = only_seed(container(package(key(policy='<PINPolicy MaxFailedAttempts="3"/>'))))
    assert any("not carried over" in note for note in seed.notes)


def test_a_draft_says_in_usage_what_a_key_is_for() -> None:
    challenge = '<Usage CR="true"><ResponseFormat Length="8" Format="DECIMAL"/></Usage>'
    assert only_bad(container(package(key(rest=challenge)))).field == "KeyUsage"
    assert only_seed(container(package(key(rest=challenge.replace("CR", "OTP"))))).digits == 8


def _validity(of_key: str = "", of_device: str = "") -> tuple[float | None, float | None]:
    seed: Seed = only_seed(container(package(key(policy=of_key), info=of_device)))
    return seed.starts_at, seed.expires_at


def _at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.statement("O-104")
def test_start_and_expiry_come_along() -> None:
    policy = "<StartDate>2006-05-01T00:00:00Z</StartDate><ExpiryDate>2031-05-31T12:30:00Z</ExpiryDate>"
    assert _validity(policy) == (_at(2006, 5, 1), _at(2031, 5, 31, 12, 30))
    assert _validity() == (None, None)


@pytest.mark.statement("O-104")
def test_of_key_and_device_the_stricter_dates_count() -> None:
    early = "<StartDate>2006-05-01T00:00:00Z</StartDate><ExpiryDate>2030-01-01T00:00:00Z</ExpiryDate>"
    late = "<StartDate>2008-05-01T00:00:00Z</StartDate><ExpiryDate>2032-01-01T00:00:00Z</ExpiryDate>"
    assert _validity(early, late) == _validity(late, early) == (_at(2008, 5, 1), _at(2030, 1, 1))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2031-12-31T00:00:00+02:00", (2031, 12, 30, 22)),
        ("2031-12-31T00:00:00", (2031, 12, 31)),
        ("2031-12-31", (2031, 12, 31)),
        ("2031-12-31T23:59:59.5Z", (2031, 12, 31, 23, 59, 59, 500_000)),
        ("31/12/2031", (2031, 12, 31)),
        ("12/31/2031", (2031, 12, 31)),
        ("01/01/2031", (2031, 1, 1)),
    ],
)
def test_a_date_is_read_as_it_is_written(written: str, meant: tuple[int, ...]) -> None:
    assert _validity(f"<ExpiryDate>{written}</ExpiryDate>")[1] == _at(*meant)


@pytest.mark.parametrize(
    "written", ["10", "tomorrow", "05/06/2031", "2031-02-30", "2031-13-01T00:00:00Z", "0000-01-01"]
)
def test_what_is_no_plain_date_is_not_guessed_at(written: str) -> None:
    """python-dateutil makes the tenth of this month of "10"."""
    bad = only_bad(container(package(key(policy=f"<ExpiryDate>{written}</ExpiryDate>"))))
    assert (bad.field, "no date" in bad.text) == ("ExpiryDate", True)

"""Serials that are made where a file gives none: files of one name, in the homes of many, must not get one serial."""

from store.formats.reading import Contents, Seed
from store.importing import boxful
from validation.names import Spelling

ONE = Contents("google-authenticator", (Seed("line 1", "totp", b"k" * 20),))


def made(owner: str) -> str:
    (new,) = boxful(ONE, "google_authenticator", Spelling(), owner).tokens
    return new.token.serial


def test_the_file_of_each_user_gets_a_serial_of_its_own_and_always_the_same() -> None:
    assert (made("alice"), made("bob")) == ("alice-google_authenticator", "bob-google_authenticator")
    assert made("alice") == made("alice")
    assert made("") == "google_authenticator"

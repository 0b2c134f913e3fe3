"""The tables of attributes agree with what encodes from them."""

import pytest

from radius_server.attributes import ALLOWED_IN_REPLY, Attribute, Code


def test_every_reply_code_has_its_allow_list() -> None:
    assert set(ALLOWED_IN_REPLY) == {Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE}


@pytest.mark.parametrize("code", ALLOWED_IN_REPLY)
def test_what_the_codec_adds_is_in_no_list(code: Code) -> None:
    assert not ALLOWED_IN_REPLY[code] & {Attribute.MESSAGE_AUTHENTICATOR, Attribute.PROXY_STATE}
    assert Attribute.REPLY_MESSAGE in ALLOWED_IN_REPLY[code]

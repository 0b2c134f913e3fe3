"""A gateway that has checked the password, as a PAM stack has: the PIN alone lets in."""

import contextlib
from collections.abc import Iterator

from tests.site import Site
from tests.wire import ACCEPT, REJECT, Nas
from validation.model import Mode


class Gateway:
    def __init__(self, nas: Nas) -> None:
        self._nas = nas

    def lets_in(self, user: str, pin: str) -> bool:
        code = self._nas.login(user, pin).code
        assert code in (ACCEPT, REJECT)
        return code == ACCEPT


@contextlib.contextmanager
def gateway_of(site: Site) -> Iterator[Gateway]:
    """With a server that serves meanwhile, as in life."""
    site.add_client(mode=Mode.PASSCODE_ONLY)
    with site.server("--listen", "127.0.0.1:0") as server, server.nas() as nas:
        yield Gateway(nas)

"""How a user name is spelled: every way of writing it leads to one user, one lock and one set of counters.

Rules: RFC 8265 UsernameCasePreserved (widths folded, NFC, bidi rule, nothing unassigned), or UsernameCaseMapped
where an admin says that case does not matter. A realm (`DOMAIN\\user`, `user@realm`, `realm/user`) is taken off
only if it is configured; a name with any other realm is left as it is, and so is nobody, unless it was created like
that. What the rule forbids is nobody's name.
"""

from dataclasses import dataclass

from precis_i18n import get_profile

from validation.errors import BadInput

_KEPT = get_profile("UsernameCasePreserved")
_MAPPED = get_profile("UsernameCaseMapped")
MAX_OCTETS = 253


@dataclass(frozen=True, slots=True)
class Spelling:
    """How this site spells names: realms to take off, without regard to case, and whether case matters in names."""

    realms: tuple[str, ...] = ()
    case_insensitive: bool = False

    def canonical(self, name: str) -> str | None:
        """The one spelling under which a user is stored; None if this cannot be a user's name."""
        try:
            bare = _enforced(self._without_realm(name), self.case_insensitive)
        except UnicodeError:
            return None
        return bare if bare and not bare.startswith("-") and len(bare.encode()) <= MAX_OCTETS else None

    def check_new(self, name: str) -> str:
        """The canonical spelling of a name to be created. Raises BadInput if it cannot be one."""
        canonical = self.canonical(name)
        if canonical is None:
            raise BadInput(
                "user name: not allowed (RFC 8265): blanks, control, invisible and unassigned characters, mixed "
                f"directions, a leading '-', or more than {MAX_OCTETS} octets"
            )
        return canonical

    def _without_realm(self, name: str) -> str:
        known = {realm.casefold() for realm in self.realms}
        for separator in ("\\", "/"):
            realm, found, user = name.partition(separator)
            if found and user and realm.casefold() in known:
                return user
        user, found, realm = name.rpartition("@")
        return user if found and user and realm.casefold() in known else name


EXACT = Spelling()


def _enforced(name: str, case_insensitive: bool) -> str:
    profile = _MAPPED if case_insensitive else _KEPT
    enforced: str = profile.enforce(name)
    return enforced

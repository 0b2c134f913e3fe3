"""How a user name is spelled: every way of writing it leads to one user, one lock and one set of counters.

Rules: RFC 8265 UsernameCasePreserved (widths folded, NFC, bidi rule, nothing unassigned), or UsernameCaseMapped
where an admin says that case does not matter. A realm (`DOMAIN\\user`, `user@realm`, `realm/user`) is taken off
only if it is configured; a name with any other realm is left as it is, and so is nobody, unless it was created like
that. An alias is looked up last, once, so it may be written in every way too. What the rule forbids is nobody's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from precis_i18n import get_profile

_KEPT = get_profile("UsernameCasePreserved")
_MAPPED = get_profile("UsernameCaseMapped")
MAX_OCTETS = 253
_TYPED_MOST = 4096  # characters; more cannot become so few, and the profiles take a second for each million


@dataclass(frozen=True, slots=True)
class Spelling:
    """How this site spells names: realms to take off, without regard to case, whether case matters in names, and
    other names of a user, each as it is spelled canonically."""

    realms: tuple[str, ...] = ()
    case_insensitive: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)

    def canonical(self, name: str) -> str | None:
        """The one spelling under which a user is stored; None if this cannot be a user's name."""
        bare = self._bare(name)
        return self.aliases.get(bare, bare) if bare is not None else None

    def is_alias(self, name: str) -> bool:
        return self._bare(name) in self.aliases

    def _bare(self, name: str) -> str | None:
        if len(name) > _TYPED_MOST:
            return None
        try:
            bare = _enforced(self._without_realm(name), self.case_insensitive)
        except UnicodeError:
            return None
        return bare if bare and not bare.startswith("-") and len(bare.encode()) <= MAX_OCTETS else None

    def _without_realm(self, name: str) -> str:
        if not self.realms:
            return name
        known = {realm.casefold() for realm in self.realms}
        for separator in ("\\", "/"):
            realm, found, user = name.partition(separator)
            if found and user and realm.casefold() in known:
                return user
        user, found, realm = name.rpartition("@")
        return user if found and user and realm.casefold() in known else name


EXACT = Spelling()


def _enforced(name: str, case_insensitive: bool) -> str:
    """Each part between single blanks is enforced by itself (RFC 8265 3.1: userparts).

    Of printable ASCII (RFC 8264 9.11: ASCII7) the profiles change the case at most, and take their time.
    """
    if name.isascii() and name.isprintable() and name and " " not in name:
        return name.lower() if case_insensitive else name
    profile = _MAPPED if case_insensitive else _KEPT
    return " ".join(profile.enforce(part) for part in name.split(" "))

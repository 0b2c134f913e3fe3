"""Whether the file allows us to use a key, and from when until when (RFC 6030 5).

Rules: what a file demands and we cannot do makes the key unusable; leaving the demand out is not ours to choose. A
policy element that is not known means that the key must not be used. A PIN that the device asks for itself is the
device's affair.
"""

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from store.formats.pskc.fields import FieldError, date
from validation.messages import printable

if TYPE_CHECKING:
    from pskc.policy import Policy

_PIN_IN_CODE = ("Prepend", "Append", "Algorithmic")


def check(policy: "Policy") -> tuple[str, ...]:
    """Notes on what is not carried over. Raises FieldError "not usable"."""
    if policy.unknown_policy_elements:
        raise FieldError("Policy", "not usable: it says something that is not known here (RFC 6030 5)")
    if policy.key_usage and "OTP" not in policy.key_usage:
        named = ", ".join(printable(each or "nothing", 20) for each in policy.key_usage[:5])
        raise FieldError("KeyUsage", f"not usable: the key is for {named} and not for OTP (RFC 6030 5)")
    if policy.number_of_transactions is not None:
        raise FieldError(
            "NumberOfTransactions", "not usable: the key may be used only so many times, and no uses are counted here"
        )
    return _pin_notes(policy)


def _pin_notes(policy: "Policy") -> tuple[str, ...]:
    usage = policy.pin_usage
    if usage in _PIN_IN_CODE:
        raise FieldError("PINPolicy", f"not usable: a PIN is part of the code (PINUsageMode {usage})")
    if usage not in (None, "Local"):
        raise FieldError("PINPolicy", "not usable: its PINUsageMode is not known here (RFC 6030 5)")
    if usage == "Local":
        return ("the device asks for a PIN of its own; that is not checked here",)
    if any((policy.pin_key_id, policy.pin_min_length, policy.pin_max_length, policy.pin_max_failed_attempts)):
        return ("the file has rules for a PIN; they are not carried over",)
    return ()


def validity(device: Element | None, key: Element) -> tuple[float | None, float | None]:
    """From when and until when both device and key may be used. Raises FieldError."""
    starts = [*_dates(device, "StartDate"), *_dates(key, "StartDate"), *_dates(key.find("Policy"), "StartDate")]
    ends = [*_dates(device, "ExpiryDate"), *_dates(device, "Expiry"), *_dates(key, "ExpiryDate")]
    ends += _dates(key.find("Policy"), "ExpiryDate")
    return max(starts, default=None), min(ends, default=None)


def _dates(element: Element | None, name: str) -> list[float]:
    text = element.findtext(name, "") if element is not None else ""
    return [date(name, text)] if text.strip() else []

"""`dataclass` for values of which a login makes dozens: frozen for the type checker, which looks at all of the product,
and not once more at run time, where making one would take eight times as long.

Nobody changes one; to change is to make another (`dataclasses.replace`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(*, frozen: bool, slots: bool, **more: Any) -> Callable[[type[Any]], type[Any]]:
        """Compared and hashed by its fields, as a frozen one."""
        return dataclasses.dataclass(unsafe_hash=frozen, slots=slots, **more)

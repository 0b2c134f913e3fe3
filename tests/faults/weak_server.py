"""The real `twofold` on a store that promises less: connections get another `PRAGMA synchronous` before they are used.

Started as `python weak_server.py FULL|NORMAL|OFF ARGUMENT...`; the arguments are those of `twofold`. The product has no
such setting: this shows what it would lose.
"""

import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.pool import Pool

from store.cli import main


def install(setting: str) -> None:
    def weaken(connection: Any, _record: Any, _proxy: Any) -> None:
        """When it is taken from the pool, so after everything that the product sets."""
        connection.execute(f"PRAGMA synchronous={setting}")

    event.listen(Pool, "checkout", weaken)


if __name__ == "__main__":
    install(sys.argv[1])
    main.main(sys.argv[2:])

"""A program for tests of the ports: for each line it is given, it says in JSON which keys it finds.

It is python-fido2 unmodified. "list" lists descriptors, "probe" opens each key as `CtapHidDevice.list_devices` does;
an error is told by its number. "hold" opens the first key and "packet" reads from it. Not collected by pytest.
"""

import json
import sys
from typing import Any

from fido2.ctap2.base import Ctap2
from fido2.hid import CtapHidDevice
from fido2.hid.linux import list_descriptors, open_connection


def listed() -> list[Any]:
    return [[found.path, found.product_name, found.serial_number] for found in list_descriptors()]


def probed() -> list[Any]:
    found = []
    for device in CtapHidDevice.list_devices():
        found.append([device.descriptor.path, Ctap2(device).info.versions])
        device.close()
    return found


def main() -> None:
    held = None
    for line in sys.stdin:
        try:
            match line.strip():
                case "list":
                    answer: Any = listed()
                case "probe":
                    answer = probed()
                case "hold":
                    held = open_connection(list_descriptors()[0])
                    answer = "held"
                case "packet":
                    assert held is not None
                    answer = held.read_packet().hex()
                case "write":
                    assert held is not None
                    held.write_packet(bytes(64))
                    answer = "written"
                case path:
                    with open(path, "rb"):
                        answer = "opened"
        except OSError as error:
            answer = error.errno
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

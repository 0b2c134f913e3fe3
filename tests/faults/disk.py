"""An ext4 file system in a file of its own, whose power can be cut.

Rules: it is mounted in a private namespace, so the host never sees it. `cut` is EXT4_IOC_SHUTDOWN without flushing
(fs/ext4/ext4.h, EXT4_GOING_FLAGS_NOLOGFLUSH): from then on nothing reaches the file, and what had not been synced is
gone, as when the power fails. `commit=300` keeps the kernel from syncing by itself meanwhile. What a disk does to a
sector half written is not shown by this.
"""

import ctypes
import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flows.namespace import Namespace, mount_namespace

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NOTHING_MORE = 2
SIZE = 24 << 20


class Disk:
    """Mounted at `place` in `namespace`."""

    def __init__(self, namespace: Namespace, image: Path, place: Path, size: int) -> None:
        self.namespace = namespace
        self.place = place
        self._image = image
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, stdin=subprocess.DEVNULL)
        self._mount()

    def _mount(self) -> None:
        self.namespace.run("mount", "-t", "ext4", "-o", "loop,commit=300", self._image, self.place)

    def cut(self) -> None:
        """The power fails. Raises OSError where the kernel does not offer it."""
        descriptor = os.open(self.namespace.path(self.place), os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, bytes(ctypes.c_uint32(NOTHING_MORE)))
        finally:
            os.close(descriptor)

    def power_up(self) -> None:
        """Mount it again; the kernel replays the file system's journal. Nobody may have a file open there."""
        self.end()
        self._mount()

    def end(self) -> None:
        self.namespace.run("umount", self.place)


@contextmanager
def disk_holding(folder: Path, beside: Path, size: int = SIZE) -> Iterator[Disk]:
    """In a namespace of its own `folder` is a disk with a copy of what is in it, all of it synced.

    Its file lies in `beside`. Skips where none may be mounted; where peers are required, that is a failure.
    """
    with mount_namespace() as namespace:
        source = beside / "source"
        namespace.run("cp", "-a", folder, source)
        try:
            disk = Disk(namespace, beside / "disk.img", folder, size)
        except subprocess.CalledProcessError as error:
            complain = pytest.fail if os.environ.get("TWOFOLD_REQUIRE_PEERS") == "1" else pytest.skip
            complain(f"no ext4 file system can be mounted here: {error}")
        try:
            namespace.run("cp", "-a", f"{source}/.", folder)
            namespace.run("sync", "-f", folder)
            yield disk
        finally:
            disk.end()

"""Disks of a test: a file system in a file that loses its power, fills up, or damages files.

Needs root, loop devices and mkfs.ext4.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

from fleet import Failed, check

# EXT4_IOC_SHUTDOWN, and what it does: nothing is written any more, the log of the file system
# least of all, as when the power fails.
SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, 2


# Where syncing costs nothing, so that three disks are not slower than one.
MEMORY = Path("/dev/shm")


class Disk:
    """A file system of its own, of so many MiB, mounted at a folder."""

    def __init__(self, folder, name, mebibytes):
        place = MEMORY if os.access(MEMORY, os.W_OK) else folder
        self.image, self.folder = place / f"dsc-{os.getpid()}-{name}.img", folder / name
        self.is_mounted = False
        with self.image.open("wb") as image:
            image.truncate(mebibytes << 20)
        run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0",
            str(self.image))
        self.folder.mkdir()
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", str(self.image), str(self.folder))
        self.is_mounted = True

    def unmount(self):
        if self.is_mounted:
            run("umount", str(self.folder))
            self.is_mounted = False

    def remove(self):
        """Takes it away, whatever it is in the middle of."""
        self.unmount()
        self.image.unlink(missing_ok=True)

    def lose_power(self):
        """Whatever was not synced is gone from now on; all that uses it gets errors."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        finally:
            os.close(handle)

    def restore_power(self):
        """Mounts it again; nobody may have it open."""
        self.unmount()
        self.mount()

    def fill(self):
        """Takes all the room there is with one file."""
        with (self.folder / "filler").open("wb") as filler:
            end, step = 0, 64 << 20
            while step >= 1 << 12:
                try:
                    os.posix_fallocate(filler.fileno(), end, step)
                    end += step
                except OSError:
                    step //= 2

    def empty(self):
        (self.folder / "filler").unlink()


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")


def reason_against(folder):
    """Why there can be no such disks here, or None."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is missing; Debian's package e2fsprogs has it"
    disk = None
    try:
        disk = Disk(folder, "probe", 16)
        disk.lose_power()
        disk.restore_power()
        return None
    except (Failed, OSError) as error:
        return f"no file system whose power can be cut: {error}"
    finally:
        if disk:
            disk.remove()
        shutil.rmtree(folder / "probe", ignore_errors=True)


def message_files(store, stream):
    """The files in which a stopped node keeps the messages of a stream, the oldest first."""
    folders = list(store.glob(f"jetstream/*/streams/{stream}/msgs"))
    check(len(folders) == 1, f"{len(folders)} folders of {stream} in {store}")
    return sorted(folders[0].glob("*.blk"), key=lambda path: int(path.stem))


def end_of(store, stream):
    """Where the next message of a stream goes: the newest file, and its bytes."""
    path = message_files(store, stream)[-1]
    return path, path.stat().st_size


def truncate(path, start):
    """Cuts off what is in a file from `start` on, but for some bytes of it: a disk that lied."""
    size = path.stat().st_size
    check(size > start + 64, f"{path} has nothing after {start}")
    os.truncate(path, start + 32)
    return f"{path.name} cut from {size} to {start + 32} bytes"


def flip(path, start):
    """Turns one bit in the middle of what is in a file from `start` on."""
    place = (start + path.stat().st_size) // 2
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    return f"one bit of {path.name} turned at {place}"

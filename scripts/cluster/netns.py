"""Hosts of a test network: network namespaces joined by a bridge, or just this machine.

Needs root and iproute2. A host that is cut off from another throws away what it would send there
and hears nothing of it, as behind a broken switch: its neighbour table names a machine that does
not exist. The test itself reaches every host all the time.
"""

import os
import shutil
import subprocess

from fleet import Failed

NOBODY = "02:00:00:00:0d:5c"


class Host:
    """Where processes run: an address, and what a command has to begin with to run there."""

    def __init__(self, number, address, prefix=()):
        self.number, self.address, self.prefix = number, address, list(prefix)


class Loopback:
    """One machine that plays all hosts: no namespaces, no partitions."""

    outside = "127.0.0.1"

    def __init__(self, count):
        self.hosts = [Host(number, "127.0.0.1") for number in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Network:
    """Hosts with addresses of their own; `with` makes them and takes them away."""

    made_here = 0

    def __init__(self, count):
        # Names of interfaces have 15 characters; several tests may run beside each other, and what
        # is taken away goes a while later.
        Network.made_here += 1
        self.tag = f"d{os.getpid() % 1_000_000:06}{Network.made_here % 100:02}"
        self.subnet = f"10.213.{os.getpid() % 256}"
        self.bridge, self.count, self.made = f"{self.tag}br", count, []
        self.hosts, self.outside = [], f"{self.subnet}.254"

    def __enter__(self):
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", f"{self.outside}/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            self.hosts = [self.make(number) for number in range(self.count)]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for number, name in enumerate(self.made):
            ip("link", "del", f"{self.tag}v{number}", check=False)
            ip("netns", "del", name, check=False)
        ip("link", "del", self.bridge, check=False)

    def make(self, number):
        name, outside = f"{self.tag}h{number}", f"{self.tag}v{number}"
        address = f"{self.subnet}.{number + 1}"
        ip("netns", "add", name)
        self.made.append(name)
        ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", outside, "master", self.bridge, "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        # Not `ip netns exec`, whose processes would keep file systems that were unmounted.
        return Host(number, address, ["nsenter", f"--net=/run/netns/{name}", "--"])

    def cut(self, host, others):
        """Lets nothing pass between a host and others any more."""
        for other in others:
            self.silence(host, other)
            self.silence(other, host)

    def silence(self, sender, receiver):
        """Throws away what one host sends to another."""
        ip("-n", self.made[sender.number], "neigh", "replace", receiver.address,
           "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def heal(self):
        """Lets everything pass again."""
        for sender in self.hosts:
            for receiver in self.hosts:
                if sender is not receiver:
                    ip("-n", self.made[sender.number], "neigh", "del", receiver.address,
                       "dev", "eth0", check=False)


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if check and done.returncode != 0:
        raise Failed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def reason_against():
    """Why there can be no namespaces here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip") or not shutil.which("nsenter"):
        return "network namespaces need iproute2 and util-linux"
    try:
        with Network(1):
            return None
    except (Failed, OSError) as error:
        return f"no network namespaces: {error}"

"""The faults, each a case by name: what is done to the chain, and how soon it has to go on."""

from cluster.faults import roles, readers, engine, links, disks
from cluster.faults.case import CASES
from cluster.faults.roles import add_steps

__all__ = ["CASES", "add_steps", "roles", "readers", "engine", "links", "disks"]

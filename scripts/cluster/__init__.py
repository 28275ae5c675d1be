"""What scripts/cluster.py is made of: real engine nodes, networks, disks, roles, and faults."""

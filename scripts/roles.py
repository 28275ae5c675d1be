"""The six roles as processes of their own, for the scripts that stop, kill and watch them."""

from fleet import answer, free_ports, poll

PROOFS = ("work", "space", "memory")
SERVERS = ("blockchain", "pool", "metronome")
NAMES = (*SERVERS, "monitor", *(f"validator-{proof}" for proof in PROOFS))
# A busy machine may take this long for what takes a block or two.
PATIENCE_SECONDS = 60


class Roles:
    """The processes of one chain, with the commands that start each of them again."""

    def __init__(self, fleet, network, block_time, accounts, rewarded=None):
        self.fleet, self.network = fleet, network
        self.block_time, self.accounts, self.rewarded = block_time, accounts, rewarded
        base = free_ports(len(NAMES))
        self.ports = dict(zip(NAMES, range(base, base + len(NAMES))))
        self.processes = {}

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def urls(self):
        """The flags that say where the servers are."""
        return [part for role in SERVERS for part in (f"--{role}-url", self.url(role))]

    def make_genesis(self):
        self.fleet.ask("genesis", "--development", "--network", self.network,
                       "--accounts", self.accounts, "--block-time", self.block_time,
                       "--param", "space.k=16", "--param", "memory.m=16", "--tries", 4096,
                       "--out", "genesis.json")

    def command(self, name):
        role, _, proof = name.partition("-")
        extra = {
            "blockchain": ["--genesis", "genesis.json"],
            "pool": ["--genesis", "genesis.json", "--faucet"],
            "metronome": ["--genesis", "genesis.json", "--dev-key"],
            "monitor": ["--interval", "1s"],
            "validator": ["--genesis", "genesis.json", "--proof", proof, "--address", self.rewarded,
                          "--threads", 1, "--attempts", 20_000],
        }[role]
        return [role, *extra, "--json", "--listen", f"127.0.0.1:{self.ports[name]}",
                "--data-dir", f"data-{name}", *self.urls()]

    def launch(self, name, environment=None):
        """Starts a process and does not wait for it."""
        process = self.fleet.start(name, *self.command(name), environment=environment)
        self.processes[name] = process

    def wait_ready(self, name):
        self.processes[name].wait_ready(self.url(name))

    def start(self, name):
        self.launch(name)
        self.wait_ready(name)

    def start_all(self):
        for name in self.ports:
            self.start(name)

    def info(self):
        """Where the chain stands."""
        return answer(f"{self.url('blockchain')}/v1/info")

    def height(self):
        height = self.info()["height"]
        return -1 if height is None else height

    def grow(self, blocks, seconds=PATIENCE_SECONDS):
        """Waits until the chain is so many blocks longer."""
        goal = self.height() + blocks
        poll(f"height {goal}", seconds, lambda: self.height() >= goal)

#!/usr/bin/env python3
"""Checks an exported DSC chain, rule by rule, against docs/protocol.md.

Written from that text alone and sharing no code with the library, so that two independent readings
of the protocol have to agree.  Needs Python 3.9 or later and nothing else; with the package
`blake3` (see requirements.txt) it is many times faster.

    verify_chain.py CHAIN_FILE [--json] [--quiet]
    verify_chain.py --vectors docs/vectors.json

Exit status: 0 valid, 1 invalid (the height and the rule are named), 2 usage or unreadable file.
"""

import argparse
import hashlib
import json
import mmap
import signal
import sys
from dataclasses import dataclass

try:
    from blake3 import blake3
except ImportError:
    blake3 = None
    import blake3_pure

ENGINES = ("work", "space", "memory")
WORK, SPACE, MEMORY = range(3)
UNITS_PER_COIN = 10**8
U64_MAX = 2**64 - 1
ZERO = bytes(32)
TRANSACTIONS_MAX = 1 << 17
K_MIN, K_MAX = 16, 32
SCAN_MAX = 6
WALK_MAX = 256
# How far an epoch may be above that of the block before.
EPOCH_STEP_MAX = 1 << 32
# The ranges of each engine's parameters.
PARAMS = ((), ((K_MIN, K_MAX), (0, SCAN_MAX)), ((K_MIN, K_MAX), (1, WALK_MAX)))

# The rules of docs/protocol.md, section "Validity", by name; `dsc` calls B and T the same.
RULES = {
    "F1": "not-a-chain-file", "F2": "truncated-file",
    "G1": "genesis-encoding", "G2": "genesis-version", "G3": "network-name", "G4": "out-of-range",
    "G5": "account-order", "G6": "supply-overflow", "G7": "metronome-twice",
    "G8": "initial-target", "G9": "engine-parameter",
    "B1": "block-encoding", "B2": "block-version", "B3": "wrong-chain", "B4": "unknown-metronome",
    "B5": "bad-block-signature", "B6": "wrong-height", "B7": "wrong-parent", "B8": "wrong-time",
    "B9": "old-epoch", "B10": "wrong-challenge", "B11": "wrong-targets", "B12": "proof-order",
    "B13": "target-missed", "B14": "wrong-proofs-root", "B15": "wrong-transaction-count",
    "B16": "too-many-transactions", "B17": "block-too-large", "B18": "wrong-transactions-root",
    "B19": "wrong-state", "B20": "wrong-supply", "B21": "epoch-ahead",
    "P1": "space-size", "P2": "pair-order", "P3": "pair-match", "P4": "space-bucket",
    "P5": "walk-length", "P6": "walk-step",
    "T1": "transaction-version", "T2": "empty-payment", "T3": "amount-overflow",
    "T4": "bad-signature", "T5": "wrong-sequence", "T6": "expired", "T7": "insufficient-funds",
}


class Invalid(Exception):
    """A broken rule; `height` is filled in by whoever knows it (None before the first block)."""

    def __init__(self, rule, detail, height=None):
        super().__init__(detail)
        self.rule, self.detail, self.height = rule, detail, height

    def __str__(self):
        where = "genesis or file" if self.height is None else f"height {self.height}"
        return f"{where}: rule {self.rule} ({RULES[self.rule]}): {self.detail}"


def require(condition, rule, detail):
    if not condition:
        raise Invalid(rule, detail)


def require_equal(rule, got, expected):
    if got != expected:
        raise Invalid(rule, f"got {show(got)}, expected {show(expected)}")


def show(value):
    return value.hex() if isinstance(value, bytes) else value


# Hashes -----------------------------------------------------------------------------------------

def derive(context, *parts, length=32):
    material = b"".join(parts)
    if blake3 is None:
        return blake3_pure.derive_key(context, material, length)
    return blake3(material, derive_key_context=context).digest(length=length)


def tag(key, n):
    message = ZERO + (n >> 32).to_bytes(4, "little") + (n & 0xFFFFFFFF).to_bytes(4, "little")
    if blake3 is None:
        digest = blake3_pure.keyed_hash(key, message, 8)
    else:
        digest = blake3(message, key=key).digest(length=8)
    return int.from_bytes(digest, "little")


def le64(n):
    return n.to_bytes(8, "little")


def first64(digest):
    return int.from_bytes(digest[:8], "little")


def merkle_root(leaves):
    """Returns the root over `leaves` (bytes): pairs join, an odd node moves up unchanged."""
    nodes = [derive("dsc v1 merkle leaf", leaf) for leaf in leaves]
    while len(nodes) > 1:
        odd = [nodes.pop()] if len(nodes) % 2 else []
        pairs = zip(nodes[::2], nodes[1::2])
        nodes = [derive("dsc v1 merkle node", left, right) for left, right in pairs] + odd
    return nodes[0] if nodes else ZERO


# The state commitment adds 1024 lanes of 16 bits at once, as one integer of 2048 bytes whose
# top lane bits are handled apart so that no carry crosses a lane.
HIGH = int.from_bytes(b"\x00\x80" * 1024, "little")
LOW = int.from_bytes(b"\xff\x7f" * 1024, "little")


def lanes_add(a, b):
    return ((a & LOW) + (b & LOW)) ^ ((a ^ b) & HIGH)


def lanes_subtract(a, b):
    return ((a | HIGH) - (b & LOW)) ^ ((a ^ ~b) & HIGH)


def account_lanes(address, balance, sequence):
    """Returns the lanes an account adds to the state; one that is all zero adds nothing."""
    if balance == 0 and sequence == 0:
        return 0
    material = address + le64(balance) + le64(sequence)
    return int.from_bytes(derive("dsc v1 account", material, length=2048), "little")


def state_digest(lanes):
    return derive("dsc v1 state", lanes.to_bytes(2048, "little"))


# Signatures -------------------------------------------------------------------------------------

# RFC 8017, 9.2: DER prefix of a SHA-256 DigestInfo, and the padding for a 2048-bit modulus.
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
PADDING = b"\x00\x01" + b"\xff" * (256 - 3 - 19 - 32) + b"\x00"


def key_is_valid(modulus):
    return modulus[0] & 0x80 != 0 and modulus[255] & 1 == 1


def signature_is_valid(modulus, message, signature):
    """RSASSA-PKCS1-v1_5 with SHA-256 and e = 65537, comparing the whole padded block."""
    n, s = int.from_bytes(modulus, "big"), int.from_bytes(signature, "big")
    expected = PADDING + SHA256_INFO + hashlib.sha256(message).digest()
    return s < n and pow(s, 65537, n).to_bytes(256, "big") == expected


def address_of(modulus):
    return derive("dsc v1 address", modulus)


# Decoding ---------------------------------------------------------------------------------------

class Reader:
    """Reads the canonical encoding from bytes; whatever does not fit breaks `rule`."""

    def __init__(self, data, rule):
        self.data, self.rule, self.at = data, rule, 0

    def take(self, length):
        end = self.at + length
        if end > len(self.data):
            raise Invalid(self.rule, f"{len(self.data)} bytes end before the value does")
        piece, self.at = self.data[self.at:end], end
        return piece

    def integer(self, length):
        return int.from_bytes(self.take(length), "little")

    def u64(self):
        return self.integer(8)

    def count(self, low, high):
        count = self.u64()
        require(low <= count <= high, self.rule, f"{count} elements, expected {low} to {high}")
        return count

    def list(self, low, high, read):
        return [read(self) for _ in range(self.count(low, high))]

    def finish(self):
        rest = len(self.data) - self.at
        require(rest == 0, self.rule, f"{rest} bytes follow the value")


@dataclass(frozen=True)
class Engine:
    target: int
    target_min: int
    target_max: int
    params: list


@dataclass(frozen=True)
class Genesis:
    hash: bytes
    version: int
    network: bytes
    development: int
    time: int
    interval: int
    reward: int
    halving: int
    block_transactions: int
    block_bytes: int
    engines: list
    moduli: list
    accounts: list

    @property
    def keys(self):
        return {address_of(modulus): modulus for modulus in self.moduli}


@dataclass(frozen=True)
class Proof:
    """One proof entry; `fields` are the engine's own and `entry` is its encoding."""

    kind: int
    address: bytes
    fingerprint: bytes
    fields: tuple
    entry: bytes


@dataclass(frozen=True)
class Transaction:
    version: int
    sender_key: bytes
    sequence: int
    expires: int
    fee: int
    payments: list
    memo: bytes
    signature: bytes
    unsigned: bytes
    encoded: bytes

    @property
    def cost(self):
        """What the sender pays in all."""
        return sum(amount for _, amount in self.payments) + self.fee


@dataclass(frozen=True)
class Header:
    version: int
    chain: bytes
    height: int
    epoch: int
    parent: bytes
    time: int
    challenge: bytes
    targets: tuple
    transactions: int
    transactions_root: bytes
    proofs_root: bytes
    state: bytes
    key_id: bytes
    signature: bytes
    hash: bytes


def read_key(reader):
    modulus = reader.take(256)
    require(key_is_valid(modulus), reader.rule, "a key is even or shorter than 2048 bits")
    return modulus


def read_engine(reader):
    targets = [reader.u64() for _ in range(3)]
    return Engine(*targets, reader.list(0, 8, Reader.u64))


def read_account(reader):
    return reader.take(32), reader.u64()


def decode_genesis(data):
    reader = Reader(data, "G1")
    version = reader.integer(2)
    network = reader.take(reader.count(1, 32))
    development = reader.integer(1)
    require(development <= 1, "G1", f"development is {development}, expected 0 or 1")
    time, interval, reward, halving = [reader.u64() for _ in range(4)]
    limits = reader.integer(4), reader.u64()
    engines = reader.list(3, 3, read_engine)
    moduli = reader.list(1, 16, read_key)
    accounts = reader.list(0, 100_000, read_account)
    reader.finish()
    digest = derive("dsc v1 genesis", data)
    return Genesis(digest, version, network, development, time, interval, reward, halving, *limits,
                   engines, moduli, accounts)


def read_pair(reader):
    return reader.integer(4), reader.integer(4)


def read_proof(reader):
    start = reader.at
    kind = reader.integer(1)
    require(kind <= MEMORY, reader.rule, f"proof kind {kind} is unknown")
    address, fingerprint = reader.take(32), reader.take(16)
    if kind == WORK:
        fields = (reader.u64(),)
    elif kind == SPACE:
        fields = (reader.integer(1), reader.integer(4), *read_pair(reader))
    else:
        fields = (reader.u64(), reader.list(0, WALK_MAX, read_pair))
    return Proof(kind, address, fingerprint, fields, reader.data[start:reader.at])


def read_payment(reader):
    return reader.take(32), reader.u64()


def read_transaction(reader):
    start = reader.at
    version, key = reader.integer(2), read_key(reader)
    sequence, expires, fee = [reader.u64() for _ in range(3)]
    payments = reader.list(1, 256, read_payment)
    memo = reader.take(reader.count(0, 512))
    unsigned = reader.data[start:reader.at]
    signature = reader.take(256)
    return Transaction(version, key, sequence, expires, fee, payments, memo, signature, unsigned,
                       unsigned + signature)


def read_header(reader):
    start = reader.at
    fields = [reader.integer(2), reader.take(32), reader.u64(), reader.u64(), reader.take(32),
              reader.u64(), reader.take(32), tuple(reader.u64() for _ in ENGINES),
              reader.integer(4)]
    fields += [reader.take(32) for _ in range(4)]
    unsigned = reader.data[start:reader.at]
    return Header(*fields, reader.take(256), derive("dsc v1 block", unsigned))


def decode_block(data):
    reader = Reader(data, "B1")
    header = read_header(reader)
    proofs = reader.list(0, len(ENGINES), read_proof)
    transactions = reader.list(0, TRANSACTIONS_MAX, read_transaction)
    reader.finish()
    return header, proofs, transactions


# Proofs -----------------------------------------------------------------------------------------



def check_pair(keys, k, pair, what):
    """Checks that `pair` is of the pair table and returns its `e`."""
    x1, x2 = pair
    require(x1 < x2 < 1 << k, "P2", f"{what}: {x1}, {x2} are not increasing below 2^{k}")
    difference = tag(keys[0], x1) ^ tag(keys[0], x2)
    require(difference >> (64 - (k - 1)) == 0, "P3", f"{what}: {x1}, {x2} do not match")
    return tag(keys[1], x1 | x2 << 32)


def work_quality(_, challenge, proof):
    (nonce,) = proof.fields
    return tag(derive("dsc v1 work", challenge, proof.address, proof.fingerprint), nonce)


def space_quality(params, challenge, proof):
    k_min, scan = params
    k, index, x1, x2 = proof.fields
    require(k_min <= k <= K_MAX, "P1", f"k is {k}, expected {k_min} to {K_MAX}")
    vault = proof.address + proof.fingerprint + bytes([k]) + index.to_bytes(4, "little")
    keys = [derive(f"dsc v1 space table {i}", vault) for i in (1, 2)]
    e = check_pair(keys, k, (x1, x2), "space")
    digest = derive("dsc v1 space challenge", challenge, vault)
    bits = k - 9 - scan
    difference = e ^ first64(digest)
    require(difference >> (64 - bits) == 0, "P4", f"{x1}, {x2} is not in the challenged bucket")
    return tag(digest, x1 | x2 << 32) >> bits


def memory_quality(params, challenge, proof):
    m, length = params
    start, pairs = proof.fields
    require(len(pairs) == length, "P5", f"{len(pairs)} pairs, expected {length}")
    table = proof.address + proof.fingerprint + bytes([m])
    keys = [derive(f"dsc v1 memory table {i}", table) for i in (1, 2)]
    value = tag(derive("dsc v1 memory start", challenge, table), start)
    step_key = derive("dsc v1 memory step", challenge, table)
    for step, pair in enumerate(pairs):
        e = check_pair(keys, m, pair, f"memory step {step}")
        require((e ^ value) >> (64 - m) == 0, "P6", f"step {step} does not follow from the last")
        value = tag(step_key, value ^ (pair[0] | pair[1] << 32))
    return value


QUALITY = (work_quality, space_quality, memory_quality)


# Rules ------------------------------------------------------------------------------------------

NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")


def check_genesis(genesis):
    require_equal("G2", genesis.version, 1)
    require(NAME_BYTES.issuperset(genesis.network), "G3", f"{genesis.network!r} is no name")
    check_range("G4", "interval", genesis.interval, 1, 2**32 - 1)
    check_range("G4", "halving", genesis.halving, 1, U64_MAX)
    check_range("G4", "block_transactions", genesis.block_transactions, 1, TRANSACTIONS_MAX)
    check_range("G4", "block_bytes", genesis.block_bytes, 1 << 16, 1 << 28)
    addresses = [address for address, _ in genesis.accounts]
    ordered = all(low < high for low, high in zip(addresses, addresses[1:]))
    filled = all(balance for _, balance in genesis.accounts)
    require(ordered and filled, "G5", "accounts are empty or do not increase")
    total = sum(balance for _, balance in genesis.accounts) + 2 * genesis.reward * genesis.halving
    require(total <= U64_MAX, "G6", f"{total} units do not fit 64 bits")
    require(len(genesis.keys) == len(genesis.moduli), "G7", "a metronome key is listed twice")
    for engine, name, ranges in zip(genesis.engines, ENGINES, PARAMS):
        ordered = 1 <= engine.target_min <= engine.target <= engine.target_max
        require(ordered, "G8", f"the target of {name} is not within its limits")
        require_equal("G9", len(engine.params), len(ranges))
        for value, (low, high) in zip(engine.params, ranges):
            check_range("G9", f"a parameter of {name}", value, low, high)


def check_range(rule, what, got, low, high):
    require(low <= got <= high, rule, f"{what} is {got}, expected {low} to {high}")


def next_challenge(previous, height, winning_entry):
    return derive("dsc v1 challenge", previous, le64(height), winning_entry)


def retarget(target, quality, low=0, high=U64_MAX):
    observed = 33 * target // 10 if quality is None else 23 * quality // 10
    return min(max((15 * target + observed) // 16, low), high)


def winner_of(proofs, qualities, targets):
    """Returns the proof with the lowest quality / target, or None; the lower engine wins a tie."""
    best = None
    for proof in proofs:
        if best is None or is_better(proof.kind, best.kind, qualities, targets):
            best = proof
    return best


def is_better(one, other, qualities, targets):
    return qualities[one] * targets[other] < qualities[other] * targets[one]


class Chain:
    """Everything the next block is checked against."""

    def __init__(self, genesis_bytes):
        genesis = decode_genesis(genesis_bytes)
        check_genesis(genesis)
        self.genesis, self.keys = genesis, genesis.keys
        self.height, self.parent = 0, genesis.hash
        self.time, self.epoch = genesis.time, 0
        self.challenge = next_challenge(ZERO, 0, genesis.hash)
        self.targets = tuple(engine.target for engine in genesis.engines)
        self.accounts = {address: (balance, 0) for address, balance in genesis.accounts}
        self.supply = self.total = sum(balance for _, balance in genesis.accounts)
        self.lanes = 0
        for address, (balance, sequence) in self.accounts.items():
            self.lanes = lanes_add(self.lanes, account_lanes(address, balance, sequence))
        self.state = state_digest(self.lanes)
        self.wins = dict.fromkeys((*ENGINES, "none"), 0)
        self.transactions = 0

    @property
    def tip_height(self):
        return self.height - 1 if self.height else None

    def fork(self):
        """Returns a copy that can go its own way."""
        copy = object.__new__(Chain)
        copy.__dict__.update(self.__dict__)
        copy.accounts, copy.wins = dict(self.accounts), dict(self.wins)
        return copy

    def apply(self, data):
        """Checks the block encoded in `data` and takes it; on Invalid the chain is unchanged."""
        try:
            self._apply(data)
        except Invalid as error:
            error.height = self.height
            raise

    def _apply(self, data):
        header, proofs, transactions = decode_block(data)
        self._check_header(header)
        qualities = self._check_proofs(proofs)
        require_equal("B14", header.proofs_root, merkle_root([proof.entry for proof in proofs]))
        self._check_transactions(header, transactions, len(data))
        winner = winner_of(proofs, qualities, self.targets)
        changed, fees = self._run(transactions)
        created = self._pay(changed, winner, fees)
        lanes, total = self._commitment(changed)
        state = state_digest(lanes)
        require_equal("B19", header.state, state)
        supply = self.supply + created - (0 if winner else fees)
        require_equal("B20", total, supply)
        self._advance(header, winner, qualities)
        self.accounts.update(changed)
        self.lanes, self.state, self.supply, self.total = lanes, state, supply, total
        self.transactions += len(transactions)

    def _check_header(self, header):
        require_equal("B2", header.version, 1)
        require_equal("B3", header.chain, self.genesis.hash)
        modulus = self.keys.get(header.key_id)
        require(modulus is not None, "B4", f"{header.key_id.hex()} is not authorised")
        signed = signature_is_valid(modulus, header.hash, header.signature)
        require(signed, "B5", "the signature is not the metronome's")
        require_equal("B6", header.height, self.height)
        require_equal("B7", header.parent, self.parent)
        require(header.time > self.time, "B8", f"{header.time} is not after {self.time}")
        require(header.epoch >= self.epoch, "B9", f"{header.epoch} is below {self.epoch}")
        most = self.epoch + EPOCH_STEP_MAX
        require(header.epoch <= most, "B21", f"{header.epoch} is above {most}")
        require_equal("B10", header.challenge, self.challenge)
        require_equal("B11", header.targets, self.targets)

    def _check_proofs(self, proofs):
        """Returns the quality of each proof by kind."""
        qualities = {}
        for proof in proofs:
            kind, name = proof.kind, ENGINES[proof.kind]
            require(kind > max(qualities, default=-1), "B12", f"{name} is out of order")
            params, target = self.genesis.engines[kind].params, self.targets[kind]
            quality = QUALITY[kind](params, self.challenge, proof)
            require(quality <= target, "B13", f"{name}: {quality}, at most {target} allowed")
            qualities[kind] = quality
        return qualities

    def _check_transactions(self, header, transactions, size):
        """Checks everything about the transactions that needs no account."""
        require_equal("B15", header.transactions, len(transactions))
        limit = self.genesis.block_transactions
        require(len(transactions) <= limit, "B16", f"{len(transactions)}, at most {limit} allowed")
        limit = self.genesis.block_bytes
        require(size <= limit, "B17", f"{size} bytes, at most {limit} allowed")
        root = merkle_root([transaction.encoded for transaction in transactions])
        require_equal("B18", header.transactions_root, root)
        for index, transaction in enumerate(transactions):
            with_index(index, check_transaction, transaction, self.genesis.hash)

    def _pay(self, changed, winner, fees):
        """Credits the winner, if there is one, and returns the new coins."""
        if winner is None:
            return 0
        created = self.genesis.reward >> (self.height // self.genesis.halving)
        balance, sequence = self._account(changed, winner.address)
        changed[winner.address] = (balance + created + fees, sequence)
        return created

    def _account(self, changed, address):
        return changed.get(address) or self.accounts.get(address, (0, 0))

    def _run(self, transactions):
        """Applies the transactions in order; returns the accounts they change and all fees."""
        changed = {}
        for index, transaction in enumerate(transactions):
            with_index(index, self._transfer, changed, transaction)
        return changed, sum(transaction.fee for transaction in transactions)

    def _transfer(self, changed, transaction):
        sender, cost = address_of(transaction.sender_key), transaction.cost
        balance, sequence = self._account(changed, sender)
        require_equal("T5", transaction.sequence, sequence)
        expires = transaction.expires
        require(expires >= self.height, "T6", f"expired at {expires}")
        require(balance >= cost, "T7", f"costs {cost}, the sender has {balance}")
        changed[sender] = (balance - cost, sequence + 1)
        for address, amount in transaction.payments:
            balance, sequence = self._account(changed, address)
            changed[address] = (balance + amount, sequence)

    def _commitment(self, changed):
        """Returns the lanes and the sum of balances once `changed` is applied."""
        lanes, total = self.lanes, self.total
        for address, new in changed.items():
            old = self.accounts.get(address, (0, 0))
            if new != old:
                lanes = lanes_subtract(lanes, account_lanes(address, *old))
                lanes = lanes_add(lanes, account_lanes(address, *new))
                total += new[0] - old[0]
        return lanes, total

    def _advance(self, header, winner, qualities):
        entry = winner.entry if winner else b""
        self.wins[ENGINES[winner.kind] if winner else "none"] += 1
        self.challenge = next_challenge(self.challenge, self.height + 1, entry)
        self.targets = tuple(
            retarget(target, qualities.get(kind), engine.target_min, engine.target_max)
            for kind, (target, engine) in enumerate(zip(self.targets, self.genesis.engines))
        )
        self.parent, self.time, self.epoch = header.hash, header.time, header.epoch
        self.height += 1

    def check_end(self):
        """Adds all balances up afresh and rebuilds the state from nothing."""
        total = sum(balance for balance, _ in self.accounts.values())
        lanes = 0
        for address, account in self.accounts.items():
            lanes = lanes_add(lanes, account_lanes(address, *account))
        if total != self.supply:
            detail = f"balances add up to {total}, issued {self.supply}"
            raise Invalid("B20", detail, self.tip_height)
        if lanes != self.lanes:
            raise Invalid("B19", "the state kept does not match the accounts", self.tip_height)


def transaction_id(genesis_hash, unsigned):
    return derive("dsc v1 transaction", genesis_hash, unsigned)


def check_transaction(transaction, genesis_hash):
    """Checks what needs no account."""
    require_equal("T1", transaction.version, 1)
    require(all(amount for _, amount in transaction.payments), "T2", "an amount is zero")
    require(transaction.cost <= U64_MAX, "T3", f"{transaction.cost} units do not fit 64 bits")
    message = transaction_id(genesis_hash, transaction.unsigned)
    signed = signature_is_valid(transaction.sender_key, message, transaction.signature)
    require(signed, "T4", "the signature is not the sender's")


def with_index(index, check, *arguments):
    """Runs a check of one transaction and says which one it was if it fails."""
    try:
        return check(*arguments)
    except Invalid as error:
        raise Invalid(error.rule, f"transaction {index}: {error.detail}") from None


# The export file --------------------------------------------------------------------------------

FILE_HEAD = b"DSCCHAIN\x01\x00"


def next_record(data, offset):
    """Returns the length-prefixed record at `offset` and the offset after it."""
    start = offset + 8
    require(start <= len(data), "F2", f"the file ends within a length at byte {offset}")
    end = start + int.from_bytes(data[offset:start], "little")
    require(end <= len(data), "F2", f"the record at byte {offset} is longer than the file")
    return bytes(data[start:end]), end


def open_chain(data):
    """Returns the chain of a file's genesis, without blocks, and the offset of the first block."""
    head = bytes(data[:len(FILE_HEAD)])
    require(head == FILE_HEAD, "F1", f"got {head.hex()}, expected {FILE_HEAD.hex()}")
    genesis, offset = next_record(data, len(FILE_HEAD))
    return Chain(genesis), offset


def next_block(chain, data, offset):
    """Returns the bytes of the next block, which is at `offset`, and the offset after it."""
    try:
        return next_record(data, offset)
    except Invalid as error:
        error.height = chain.height
        raise


def apply_rest(chain, data, offset):
    while offset < len(data):
        block, offset = next_block(chain, data, offset)
        chain.apply(block)
    chain.check_end()


def verify(data):
    """Returns the chain that `data` holds, or raises Invalid."""
    chain, offset = open_chain(data)
    apply_rest(chain, data, offset)
    return chain


def load(path):
    """Returns the bytes of a file, mapped if it can be."""
    with open(path, "rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (ValueError, OSError):
            return file.read()


# Test vectors -----------------------------------------------------------------------------------

BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    checksum = 1
    for value in values:
        top, checksum = checksum >> 25, (checksum & 0x1FFFFFF) << 5 ^ value
        for i, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= term if top >> i & 1 else 0
    return checksum


def bech32m(prefix, data):
    """Returns `data` in Bech32m (BIP 350)."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = polymod(expanded + values + [0] * 6) ^ 0x2BC830A3
    values += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return f"{prefix}1" + "".join(BECH32[value] for value in values)


def cases(section):
    return section if isinstance(section, list) else [section]


def identity(vector, kind, fields):
    address, fingerprint = bytes.fromhex(vector["address"]), bytes.fromhex(vector["fingerprint"])
    return bytes.fromhex(vector["challenge"]), Proof(kind, address, fingerprint, fields, b"")


def vector_tag(v):
    yield "tag", tag(bytes.fromhex(v["key"]), int(v["n"])), int(v["tag"])


def vector_derive(v):
    yield "digest", derive(v["context"], bytes.fromhex(v["material"])).hex(), v["digest"]


def vector_address(v):
    address = address_of(bytes.fromhex(v["modulus"]))
    yield "address", address.hex(), v["address"]
    yield "text", bech32m("dsc", address), v["text"]
    yield "text_development", bech32m("dscd", address), v["text_development"]


def vector_work(v):
    challenge, proof = identity(v, WORK, (int(v["nonce"]),))
    yield "quality", work_quality([], challenge, proof), int(v["quality"])


def vector_space(v):
    fields = tuple(int(v[name]) for name in ("k", "index", "x1", "x2"))
    challenge, proof = identity(v, SPACE, fields)
    yield "quality", space_quality([K_MIN, int(v["s"])], challenge, proof), int(v["quality"])


def vector_memory(v):
    pairs = [(int(x1), int(x2)) for x1, x2 in v["pairs"]]
    challenge, proof = identity(v, MEMORY, (int(v["start"]), pairs))
    quality = memory_quality([int(v["m"]), int(v["walk"])], challenge, proof)
    yield "quality", quality, int(v["quality"])


def vector_transaction(v):
    unsigned, signature = bytes.fromhex(v["unsigned"]), bytes.fromhex(v["signature"])
    reader = Reader(unsigned + signature, "B1")
    transaction = read_transaction(reader)
    reader.finish()
    genesis = bytes.fromhex(v["genesis"])
    yield "id", transaction_id(genesis, unsigned).hex(), v["id"]
    yield "address", address_of(transaction.sender_key).hex(), v["address"]
    check_transaction(transaction, genesis)


def vector_challenge(v):
    genesis, entry = bytes.fromhex(v["genesis"]), bytes.fromhex(v["winning_entry_0"])
    first = next_challenge(ZERO, 0, genesis)
    yield "challenge_0", first.hex(), v["challenge_0"]
    yield "challenge_1", next_challenge(first, 1, entry).hex(), v["challenge_1"]
    missed = next_challenge(first, 1, b"")
    yield "challenge_1_no_winner", missed.hex(), v["challenge_1_no_winner"]


def vector_retarget(v):
    quality = None if v["quality"] is None else int(v["quality"])
    yield "next", retarget(int(v["target"]), quality), int(v["next"])


def vector_merkle(v):
    leaves = [bytes.fromhex(leaf) for leaf in v["leaves"]]
    yield "root", merkle_root(leaves).hex(), v["root"]
    for index, path in enumerate(v.get("paths", [])):
        path = [bytes.fromhex(digest) for digest in path]
        yield f"path {index}", climb(leaves[index], index, len(leaves), path).hex(), v["root"]


def climb(leaf, index, count, path):
    """Returns where an inclusion proof leads."""
    digest, last, path = derive("dsc v1 merkle leaf", leaf), count - 1, iter(path)
    while last:
        if index & 1:
            digest = derive("dsc v1 merkle node", next(path), digest)
        elif index < last:
            digest = derive("dsc v1 merkle node", digest, next(path))
        index, last = index >> 1, last >> 1
    return digest if next(path, None) is None else ZERO


def vector_state(v):
    lanes = 0
    for account in v["accounts"]:
        address = bytes.fromhex(account["address"])
        balance, sequence = int(account["balance"]), int(account["sequence"])
        lanes = lanes_add(lanes, account_lanes(address, balance, sequence))
    yield "state", state_digest(lanes).hex(), v["state"]


def vector_block(v):
    header, proofs, transactions = decode_block(bytes.fromhex(v["bytes"]))
    yield "hash", header.hash.hex(), v["hash"]
    yield "proofs_root", merkle_root([p.entry for p in proofs]), header.proofs_root
    yield "transactions_root", merkle_root([t.encoded for t in transactions]), \
        header.transactions_root


def vector_genesis(v):
    genesis = decode_genesis(bytes.fromhex(v["bytes"]))
    check_genesis(genesis)
    yield "hash", genesis.hash.hex(), v["hash"]


def vector_chain(v):
    chain = verify(bytes.fromhex(v["export"]))
    yield "blocks", chain.height, v["blocks"]
    yield "tip", chain.parent.hex(), v["tip"]
    yield "supply", chain.supply, int(v["supply"])
    yield "state", chain.state.hex(), v["state"]


VECTORS = {
    "tag": vector_tag, "derive": vector_derive, "address": vector_address, "work": vector_work,
    "space": vector_space, "memory": vector_memory, "transaction": vector_transaction,
    "challenge": vector_challenge, "retarget": vector_retarget, "merkle": vector_merkle,
    "state": vector_state, "block": vector_block, "genesis": vector_genesis,
    "chain": vector_chain,
}


def check_vectors(document):
    """Returns how many cases of each section hold and what is wrong, as two collections."""
    held, wrong = {}, []
    for name, section in document.items():
        if name not in VECTORS:
            wrong.append(f"{name}: unknown section")
            continue
        for number, vector in enumerate(cases(section)):
            faults = vector_faults(VECTORS[name], vector)
            wrong += [f"{name}[{number}]: {fault}" for fault in faults]
            held[name] = held.get(name, 0) + (not faults)
    return held, wrong


def vector_faults(check, vector):
    try:
        return [f"{what}: got {show(got)}, expected {show(expected)}"
                for what, got, expected in check(vector) if got != expected]
    except Invalid as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        return [f"not a vector of this section: {error!r}"]


# Command line -----------------------------------------------------------------------------------

def coins(units):
    whole, part = divmod(units, UNITS_PER_COIN)
    return f"{whole}.{part:08d}".rstrip("0").rstrip(".")


def report(chain):
    return {
        "schema": "dsc.verify/1", "valid": True, "height": chain.tip_height,
        "blocks": chain.height, "blocks_by_proof": chain.wins, "transactions": chain.transactions,
        "accounts": len(chain.accounts), "supply": coins(chain.supply),
        "state": chain.state.hex(), "tip": chain.parent.hex(), "genesis": chain.genesis.hash.hex(),
    }


def failure(error):
    return {
        "schema": "dsc.verify/1", "valid": False, "height": error.height, "rule": error.rule,
        "name": RULES[error.rule], "detail": error.detail,
    }


def print_report(document):
    wins = ", ".join(f"{name} {count}" for name, count in document["blocks_by_proof"].items())
    height = "none" if document["height"] is None else document["height"]
    print(f"valid: height {height}, {document['transactions']} transactions")
    print(f"blocks by proof: {wins}")
    print(f"supply: {document['supply']} coins in {document['accounts']} accounts")
    print(f"state: {document['state']}")


def run_chain(options, data):
    try:
        chain = verify(data)
    except Invalid as error:
        if options.json:
            print(json.dumps(failure(error)))
        elif not options.quiet:
            print(f"invalid: {error}")
        return 1
    if options.json:
        print(json.dumps(report(chain)))
    elif not options.quiet:
        print_report(report(chain))
    return 0


def run_vectors(options, data):
    try:
        document = json.loads(data[:])
    except (ValueError, RecursionError) as error:
        print(f"{options.vectors}: not JSON: {error}", file=sys.stderr)
        return 2
    held, wrong = check_vectors(document if isinstance(document, dict) else {"document": 0})
    if options.json:
        print(json.dumps({"schema": "dsc.vectors/1", "held": held, "wrong": wrong}))
    elif not options.quiet:
        print("vectors: " + ", ".join(f"{name} {count}" for name, count in held.items()))
        for fault in wrong:
            print(f"wrong: {fault}")
    return 1 if wrong else 0


def parse(arguments):
    parser = argparse.ArgumentParser(description="Checks an exported DSC chain, rule by rule.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("chain", nargs="?", metavar="CHAIN_FILE", help="from `dsc chain export`")
    what.add_argument("--vectors", metavar="FILE", help="check the test vectors in FILE instead")
    parser.add_argument("--json", "-j", action="store_true", help="print one JSON document")
    parser.add_argument("--quiet", "-q", action="store_true", help="print nothing but JSON")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    try:
        data = load(options.vectors or options.chain)
    except OSError as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2
    return run_vectors(options, data) if options.vectors else run_chain(options, data)


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())

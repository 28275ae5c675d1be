#!/usr/bin/env python3
"""Tests of verify_chain.py: a chain made here is accepted, and everything wrong with it is named.

    python3 scripts/test_verify_chain.py

The chain has three engines with real proofs from tables of 2^16, several payments a block, rounds
without some or all proofs, and is the same in every run.
"""

import copy
import hashlib
import io
import json
import os
import random
import struct
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout

import blake3_pure
import flip_test
import verify_chain as v
from verify_chain import Invalid, address_of, derive, tag

K = M = 16
WALK = 3
COIN = v.UNITS_PER_COIN
FINGERPRINT = bytes(range(16))


# Keys -------------------------------------------------------------------------------------------

def is_prime(n, source):
    if any(n % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)):
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(passes(n, odd, twos, source.randrange(2, n)) for _ in range(8))


def passes(n, odd, twos, base):
    """One round of Miller and Rabin."""
    x = pow(base, odd, n)
    if x in (1, n - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def prime(source):
    while True:
        n = source.getrandbits(1024) | 3 << 1022 | 1
        if n % 65537 != 1 and is_prime(n, source):
            return n


class Key:
    """An RSA-2048 key from a seed, for tests only."""

    def __init__(self, seed):
        source = random.Random(f"key {seed}")
        self.p, self.q = prime(source), prime(source)
        self.n = self.p * self.q
        self.modulus = self.n.to_bytes(256, "big")
        self.address = address_of(self.modulus)
        self.d = pow(65537, -1, (self.p - 1) * (self.q - 1))

    def sign(self, message):
        info = bytes.fromhex("3031300d060960864801650304020105000420")
        info += hashlib.sha256(message).digest()
        padded = int.from_bytes(b"\x00\x01" + b"\xff" * 202 + b"\x00" + info, "big")
        p = pow(padded, self.d % (self.p - 1), self.p)
        q = pow(padded, self.d % (self.q - 1), self.q)
        s = q + self.q * ((p - q) * pow(self.q, -1, self.p) % self.p)
        return s.to_bytes(256, "big")


METRONOME, ALICE, BOB = Key("metronome"), Key("alice"), Key("bob")


# Encoding ---------------------------------------------------------------------------------------

def u64(n):
    return struct.pack("<Q", n)


def listed(items):
    return u64(len(items)) + b"".join(items)


GENESIS = {
    "version": 1, "network": b"test-1", "development": 1, "time": 1000, "interval": 6000,
    "reward": 1024 * COIN, "halving": 8, "block_transactions": 100, "block_bytes": 1 << 20,
    "engines": [
        ((1 << 58, 1, v.U64_MAX), []),
        ((1 << 50, 1, v.U64_MAX), [K, 0]),
        ((1 << 56, 1, v.U64_MAX), [M, WALK]),
    ],
    "moduli": [METRONOME.modulus],
    "accounts": sorted((key.address, 200_000 * COIN) for key in (ALICE, BOB)),
}


def encode_genesis(**changes):
    g = {**GENESIS, **changes}
    engines = [struct.pack("<3Q", *targets) + listed([u64(p) for p in params])
               for targets, params in g["engines"]]
    return b"".join([
        struct.pack("<H", g["version"]), u64(len(g["network"])), g["network"],
        bytes([g["development"]]),
        struct.pack("<4QIQ", g["time"], g["interval"], g["reward"], g["halving"],
                    g["block_transactions"], g["block_bytes"]),
        listed(engines), listed(g["moduli"]),
        listed([address + u64(balance) for address, balance in g["accounts"]]),
    ])


def encode_transaction(chain_hash, key, sequence, payments, **changes):
    t = {"version": 1, "expires": 1000, "fee": 7, "memo": b"", "modulus": key.modulus, **changes}
    unsigned = struct.pack("<H", t["version"]) + t["modulus"]
    unsigned += struct.pack("<3Q", sequence, t["expires"], t["fee"])
    unsigned += listed([address + u64(amount) for address, amount in payments])
    unsigned += u64(len(t["memo"])) + t["memo"]
    return unsigned + key.sign(derive("dsc v1 transaction", chain_hash, unsigned))


# Proving ----------------------------------------------------------------------------------------

class Table:
    """A pair table: every pair with its `e`, and the pairs by the top bits of `e`."""

    def __init__(self, engine, material, k, prefix):
        keys = [derive(f"dsc v1 {engine} table {i}", material) for i in (1, 2)]
        groups, self.shift = {}, 64 - prefix
        for x in range(1 << k):
            groups.setdefault(tag(keys[0], x) >> (64 - (k - 1)), []).append(x)
        self.buckets = {}
        for group in groups.values():
            for i, x1 in enumerate(group):
                for x2 in group[i + 1:]:
                    e = tag(keys[1], x1 | x2 << 32)
                    self.buckets.setdefault(e >> self.shift, []).append((x1, x2))

    def find(self, value):
        return self.buckets.get(value >> self.shift, [])


class Miner:
    """One identity with all three engines."""

    def __init__(self, address):
        self.identity = address + FINGERPRINT
        self.vault = self.identity + bytes([K]) + struct.pack("<I", 0)
        self.space = Table("space", self.vault, K, K - 9)
        self.table = self.identity + bytes([M])
        self.memory = Table("memory", self.table, M, M)

    def entry(self, kind, fields):
        return bytes([kind]) + self.identity + fields

    def work(self, challenge, target):
        key = derive("dsc v1 work", challenge, self.identity)
        nonce = next(n for n in range(1 << 32) if tag(key, n) <= target)
        return self.entry(0, u64(nonce))

    def bad_work(self, challenge, target):
        key = derive("dsc v1 work", challenge, self.identity)
        return self.entry(0, u64(next(n for n in range(1 << 32) if tag(key, n) > target)))

    def prove_space(self, challenge, target):
        digest = derive("dsc v1 space challenge", challenge, self.vault)
        tries = [(tag(digest, x1 | x2 << 32) >> (K - 9), x1, x2)
                 for x1, x2 in self.space.find(v.first64(digest))]
        quality, x1, x2 = min(tries, default=(target + 1, 0, 0))
        return self.entry(1, struct.pack("<BIII", K, 0, x1, x2)) if quality <= target else None

    def prove_memory(self, challenge, target):
        start_key = derive("dsc v1 memory start", challenge, self.table)
        step_key = derive("dsc v1 memory step", challenge, self.table)
        for start in range(10_000):
            for walk, value in self.walks(step_key, tag(start_key, start), WALK):
                if value <= target:
                    pairs = [struct.pack("<2I", *pair) for pair in walk]
                    return self.entry(2, u64(start) + listed(pairs))
        return None

    def walks(self, step_key, value, length):
        if length == 0:
            yield [], value
            return
        for pair in self.memory.find(value):
            following = tag(step_key, value ^ (pair[0] | pair[1] << 32))
            for walk, end in self.walks(step_key, following, length - 1):
                yield [pair, *walk], end

    def prove(self, kind, challenge, target):
        return (self.work, self.prove_space, self.prove_memory)[kind](challenge, target)


# Building ---------------------------------------------------------------------------------------

class Draft:
    """A block before it is sealed; tests change it in between."""

    def __init__(self, chain, proofs, transactions):
        self.proofs, self.transactions = proofs, transactions
        self.header = {
            "version": 1, "chain": chain.genesis.hash, "height": chain.height,
            "epoch": chain.epoch, "parent": chain.parent, "time": chain.time + 6000,
            "challenge": chain.challenge, "targets": chain.targets,
            "count": len(transactions), "transactions_root": v.merkle_root(transactions),
            "proofs_root": v.merkle_root(proofs), "state": bytes(32),
            "key_id": METRONOME.address,
        }

    def unsigned(self):
        h = self.header
        return b"".join([
            struct.pack("<H", h["version"]), h["chain"], u64(h["height"]), u64(h["epoch"]),
            h["parent"], u64(h["time"]), h["challenge"], struct.pack("<3Q", *h["targets"]),
            struct.pack("<I", h["count"]), h["transactions_root"], h["proofs_root"], h["state"],
            h["key_id"],
        ])

    def seal(self, key=METRONOME):
        unsigned = self.unsigned()
        signature = key.sign(derive("dsc v1 block", unsigned))
        return unsigned + signature + listed(self.proofs) + listed(self.transactions)


def state_of(accounts):
    """The commitment the slow way: lane by lane, from every account."""
    lanes = [0] * 1024
    for address, (balance, sequence) in accounts.items():
        if balance or sequence:
            output = derive("dsc v1 account", address, u64(balance), u64(sequence), length=2048)
            for i, lane in enumerate(struct.unpack("<1024H", output)):
                lanes[i] = (lanes[i] + lane) % 65536
    return derive("dsc v1 state", struct.pack("<1024H", *lanes))


def settle(draft, chain, miner_address):
    """Fills in the state after `draft`, whose winner (if it has proofs) is `miner_address`."""
    accounts, fees = dict(chain.accounts), 0
    for encoded in draft.transactions:
        t = v.read_transaction(v.Reader(encoded, "B1"))
        sender = address_of(t.sender_key)
        balance, sequence = accounts[sender]
        paid = sum(amount for _, amount in t.payments) + t.fee
        accounts[sender] = (balance - paid, sequence + 1)
        for address, amount in t.payments:
            balance, sequence = accounts.get(address, (0, 0))
            accounts[address] = (balance + amount, sequence)
        fees += t.fee
    if draft.proofs:
        reward = GENESIS["reward"] >> (chain.height // GENESIS["halving"])
        balance, sequence = accounts.get(miner_address, (0, 0))
        accounts[miner_address] = (balance + reward + fees, sequence)
    draft.header["state"] = state_of(accounts)


class World:
    """The chain under test: its file, and a chain with a block that may follow."""

    def __init__(self, height=18):
        self.source = random.Random("world")
        self.miner = Miner(BOB.address)
        genesis = encode_genesis()
        self.chain = v.Chain(genesis)
        self.file = b"DSCCHAIN" + struct.pack("<H", 1) + u64(len(genesis)) + genesis
        for _ in range(height):
            block = self.draft().seal()
            self.chain.apply(block)
            self.file += u64(len(block)) + block

    def kinds(self):
        """Most rounds have every engine, some one or none."""
        choice = self.source.random()
        return (0, 1, 2) if choice < 0.6 else (self.source.randrange(3),) if choice < 0.9 else ()

    def draft(self, kinds=None):
        chain = self.chain
        kinds = self.kinds() if kinds is None else kinds
        proofs = [self.miner.prove(i, chain.challenge, chain.targets[i]) for i in kinds]
        draft = Draft(chain, [proof for proof in proofs if proof], self.payments())
        settle(draft, chain, BOB.address)
        return draft

    def payments(self):
        """From nobody up to both; one has several payments, one of them to an unknown account."""
        made = []
        for key in self.source.choice([(), (ALICE,), (ALICE, BOB), (BOB, ALICE)]):
            targets = [ALICE.address, BOB.address, bytes([self.source.randrange(4)]) * 32]
            payments = [(address, self.source.randrange(1, COIN)) for address in targets]
            sequence = self.chain.accounts[key.address][1]
            made.append(self.transaction(key, sequence, payments, memo=b"hello"))
        return made

    def transaction(self, key, sequence, payments, **changes):
        return encode_transaction(self.chain.genesis.hash, key, sequence, payments, **changes)


WORLD = World()
PROVOKED = set()


class RuleTest(unittest.TestCase):
    """Asserts which rule is broken and remembers it."""

    def assert_breaks(self, rule, action, *arguments):
        with self.assertRaises(Invalid) as caught:
            action(*arguments)
        self.assertEqual(caught.exception.rule, rule, str(caught.exception))
        PROVOKED.add(rule)
        return caught.exception

    def assert_block_breaks(self, rule, block):
        error = self.assert_breaks(rule, WORLD.chain.fork().apply, block)
        self.assertEqual(error.height, WORLD.chain.height)


class AcceptTest(unittest.TestCase):
    def test_chain_is_accepted_with_every_engine_winning(self):
        chain = v.verify(WORLD.file)
        self.assertEqual(chain.state, WORLD.chain.state)
        self.assertTrue(all(chain.wins[name] for name in ("work", "space", "memory", "none")))
        self.assertGreater(chain.transactions, 10)
        self.assertGreater(chain.height, 2 * GENESIS["halving"])

    def test_sealed_draft_is_accepted(self):
        WORLD.chain.fork().apply(WORLD.draft((0, 1, 2)).seal())

    def test_coins_received_in_a_block_can_be_spent_in_it(self):
        draft = draft_with([
            lambda t: t(ALICE, [(BOB.address, 100_000 * COIN)]),
            lambda t: t(BOB, [(ALICE.address, 250_000 * COIN)]),
        ])
        settle(draft, WORLD.chain, BOB.address)
        WORLD.chain.fork().apply(draft.seal())

    def test_a_failed_block_changes_nothing(self):
        chain = WORLD.chain.fork()
        before = copy.deepcopy({k: w for k, w in chain.__dict__.items() if k != "genesis"})
        draft = WORLD.draft()
        draft.header["state"] = bytes(32)
        with self.assertRaises(Invalid):
            chain.apply(draft.seal())
        self.assertEqual(before, {k: w for k, w in chain.__dict__.items() if k != "genesis"})

    def test_genesis_alone_is_a_chain(self):
        genesis = encode_genesis()
        chain = v.verify(v.FILE_HEAD + u64(len(genesis)) + genesis)
        self.assertEqual(v.report(chain)["height"], None)


def draft_with(makers, kinds=(0,), chain=None):
    """A draft whose transactions are made by functions of a maker `t(key, payments, ...)`."""
    chain = chain or WORLD.chain

    def make(key, payments, **changes):
        sequence = changes.pop("sequence", chain.accounts[key.address][1])
        return WORLD.transaction(key, sequence, payments, **changes)

    proofs = [WORLD.miner.prove(i, chain.challenge, chain.targets[i]) for i in kinds]
    return Draft(chain, proofs, [maker(make) for maker in makers])


class HeaderRuleTest(RuleTest):
    def test_fields(self):
        chain = WORLD.chain
        changes = [
            ("B2", "version", 2), ("B3", "chain", bytes(32)), ("B4", "key_id", ALICE.address),
            ("B6", "height", chain.height + 1), ("B7", "parent", bytes(32)),
            ("B8", "time", chain.time), ("B10", "challenge", bytes(32)),
            ("B11", "targets", (1, 2, 3)), ("B14", "proofs_root", bytes(32)),
            ("B15", "count", 77), ("B18", "transactions_root", b"\1" * 32),
            ("B19", "state", bytes(32)),
        ]
        for rule, field, value in changes:
            draft = WORLD.draft((0,))
            draft.header[field] = value
            self.assert_block_breaks(rule, draft.seal())

    def test_signature_of_another_key(self):
        self.assert_block_breaks("B5", WORLD.draft().seal(ALICE))

    def test_epoch_below_the_parent(self):
        chain = WORLD.chain.fork()
        draft = WORLD.draft()
        draft.header["epoch"] = 5
        chain.apply(draft.seal())
        following = Draft(chain, [], [])
        following.header["epoch"] = 4
        self.assert_breaks("B9", chain.apply, following.seal())

    def test_epoch_too_far_above_the_parent(self):
        chain = WORLD.chain.fork()
        draft = WORLD.draft()
        draft.header["epoch"] = chain.epoch + v.EPOCH_STEP_MAX
        chain.apply(draft.seal())
        following = Draft(chain, [], [])
        following.header["epoch"] = chain.epoch + v.EPOCH_STEP_MAX + 1
        self.assert_breaks("B21", chain.apply, following.seal())

    def test_first_block_must_be_after_genesis(self):
        chain = v.Chain(encode_genesis())
        draft = Draft(chain, [], [])
        draft.header["time"] = GENESIS["time"]
        self.assert_breaks("B8", chain.apply, draft.seal())

    def test_transaction_limit(self):
        chain = v.Chain(encode_genesis(block_transactions=1))
        payments = [(BOB.address, 1)]
        made = [encode_transaction(chain.genesis.hash, ALICE, i, payments) for i in range(2)]
        self.assert_breaks("B16", chain.apply, Draft(chain, [], made).seal())

    def test_size_limit(self):
        """The limit is exact: a memo one byte longer is too much."""
        chain = v.Chain(encode_genesis(block_bytes=1 << 16))
        payments = [(BOB.address, 1)] * 256
        made = [encode_transaction(chain.genesis.hash, ALICE, i, payments, memo=bytes(512))
                for i in range(5)]
        room = (1 << 16) - len(Draft(chain, [], made).seal()) - 554
        for memo_len, fits in ((room % 40, True), (room % 40 + 1, False)):
            last = encode_transaction(
                chain.genesis.hash, ALICE, 5, payments[:room // 40], memo=bytes(memo_len))
            draft = Draft(chain, [], [*made, last])
            settle(draft, chain, None)
            if fits:
                chain.fork().apply(draft.seal())
            else:
                self.assert_breaks("B17", chain.apply, draft.seal())

    def test_encoding(self):
        draft = WORLD.draft((0, 1, 2))
        good = draft.seal()
        for bad in (b"", good[:-1], good + b"\0", good[:533], good[:534] + u64(4) + good[542:]):
            self.assert_block_breaks("B1", bad)
        unknown = [b"\3" + draft.proofs[0][1:]]
        for rule, proofs in (("B12", draft.proofs[::-1]), ("B12", draft.proofs[:1] * 2),
                             ("B1", unknown)):
            wrong = WORLD.draft(())
            wrong.proofs = proofs
            self.assert_block_breaks(rule, wrong.seal())

    def test_supply(self):
        chain = WORLD.chain.fork()
        chain.supply += 1
        self.assert_breaks("B20", chain.check_end)
        chain = WORLD.chain.fork()
        chain.lanes ^= 1
        self.assert_breaks("B19", chain.check_end)


class ProofRuleTest(RuleTest):
    def assert_proof_breaks(self, rule, entry):
        self.assert_block_breaks(rule, Draft(WORLD.chain, [entry], []).seal())

    def space(self):
        """Returns k, index, x1 and x2 of a good proof."""
        proof = WORLD.miner.prove_space(WORLD.chain.challenge, v.U64_MAX)
        return list(struct.unpack("<BIII", proof[49:]))

    def assert_space_breaks(self, rule, *fields):
        entry = WORLD.miner.entry(1, struct.pack("<BIII", *fields))
        self.assert_proof_breaks(rule, entry)

    def test_quality_above_target(self):
        chain = WORLD.chain
        self.assert_proof_breaks("B13", WORLD.miner.bad_work(chain.challenge, chain.targets[0]))

    def test_space(self):
        k, index, x1, x2 = self.space()
        self.assert_space_breaks("P1", 15, index, x1, x2)
        self.assert_space_breaks("P1", 33, index, x1, x2)
        self.assert_space_breaks("P2", k, index, x2, x1)
        self.assert_space_breaks("P2", k, index, x1, x1)
        self.assert_space_breaks("P2", k, index, x1, 1 << K)
        self.assert_space_breaks("P3", k, index, x1, x2 - 1 if x2 - 1 > x1 else x2 + 1)
        self.assert_space_breaks("P3", k, index + 1, x1, x2)
        others = [pairs[0] for bucket, pairs in WORLD.miner.space.buckets.items()
                  if (x1, x2) not in pairs]
        self.assert_space_breaks("P4", k, index, *others[0])

    def test_memory(self):
        entry = WORLD.miner.prove_memory(WORLD.chain.challenge, v.U64_MAX)
        start, count = struct.unpack("<QQ", entry[49:65])
        pairs = [struct.unpack("<2I", entry[i:i + 8]) for i in range(65, len(entry), 8)]
        self.assertEqual(count, WALK)
        self.assert_walk_breaks("P5", start, pairs[:-1])
        self.assert_walk_breaks("P5", start, pairs * 2)
        self.assert_walk_breaks("P2", start, [pairs[0][::-1], *pairs[1:]])
        self.assert_walk_breaks("P3", start, [(pairs[0][0], pairs[0][0] + 1), *pairs[1:]])
        self.assert_walk_breaks("P6", start, [pairs[0], pairs[0], *pairs[2:]])
        self.assert_walk_breaks("B1", start, pairs * 86)

    def assert_walk_breaks(self, rule, start, pairs):
        encoded = listed([struct.pack("<2I", *pair) for pair in pairs])
        self.assert_proof_breaks(rule, WORLD.miner.entry(2, u64(start) + encoded))

    def test_proof_of_another_miner(self):
        entry = WORLD.miner.prove_space(WORLD.chain.challenge, v.U64_MAX)
        stolen = entry[:1] + ALICE.address + entry[33:]
        self.assert_proof_breaks("P3", stolen)


class TransactionRuleTest(RuleTest):
    def assert_transaction_breaks(self, rule, payments=((BOB.address, 5),), key=ALICE, **changes):
        maker = [lambda make: make(key, list(payments), **changes)]
        self.assert_block_breaks(rule, draft_with(maker).seal())

    def test_rules(self):
        height, to = WORLD.chain.height, BOB.address
        sequence = WORLD.chain.accounts[ALICE.address][1]
        even = ALICE.modulus[:255] + b"\0"
        self.assert_transaction_breaks("T1", version=2)
        self.assert_transaction_breaks("T2", [(to, 1), (to, 0)])
        self.assert_transaction_breaks("T3", [(to, v.U64_MAX)], fee=1)
        self.assert_transaction_breaks("T4", modulus=BOB.modulus)
        self.assert_transaction_breaks("T5", sequence=sequence + 1)
        self.assert_transaction_breaks("T5", sequence=sequence - 1)
        self.assert_transaction_breaks("T6", expires=height - 1)
        self.assert_transaction_breaks("T7", [(to, 10**6 * COIN)])
        self.assert_transaction_breaks("B1", [])
        self.assert_transaction_breaks("B1", [(to, 1)] * 257)
        self.assert_transaction_breaks("B1", memo=bytes(513))
        self.assert_transaction_breaks("B1", modulus=even)
        self.assert_transaction_breaks("B1", modulus=b"\x7f" + ALICE.modulus[1:])

    def test_replay(self):
        twice = [lambda make: make(ALICE, [(BOB.address, 5)])] * 2
        self.assert_block_breaks("T5", draft_with(twice).seal())

    def test_another_chain(self):
        sequence = WORLD.chain.accounts[ALICE.address][1]
        foreign = encode_transaction(bytes(32), ALICE, sequence, [(BOB.address, 5)])
        self.assert_block_breaks("T4", draft_with([lambda _: foreign]).seal())

    def test_bounds_that_hold(self):
        sequence = WORLD.chain.accounts[ALICE.address][1]
        draft = draft_with([lambda make: make(
            ALICE, [(bytes([i]) * 32, 1) for i in range(256)], fee=0, memo=bytes(512),
            expires=WORLD.chain.height, sequence=sequence)])
        settle(draft, WORLD.chain, BOB.address)
        WORLD.chain.fork().apply(draft.seal())


class GenesisRuleTest(RuleTest):
    def test_rules(self):
        work, space, memory = GENESIS["engines"]
        targets = work[0]
        accounts = GENESIS["accounts"]
        key = METRONOME.modulus
        changes = [
            ("G1", {"development": 2}), ("G1", {"network": b""}), ("G1", {"network": b"a" * 33}),
            ("G1", {"engines": [work, space]}), ("G1", {"moduli": []}),
            ("G1", {"moduli": [bytes(256)]}), ("G1", {"moduli": [key] * 17}),
            ("G1", {"engines": [(targets, [0] * 9), space, memory]}),
            ("G2", {"version": 2}), ("G3", {"network": b"Test"}),
            ("G4", {"interval": 0}), ("G4", {"interval": 1 << 32}), ("G4", {"halving": 0}),
            ("G4", {"block_transactions": 0}), ("G4", {"block_transactions": (1 << 17) + 1}),
            ("G4", {"block_bytes": (1 << 16) - 1}), ("G4", {"block_bytes": (1 << 28) + 1}),
            ("G5", {"accounts": accounts[::-1]}), ("G5", {"accounts": accounts[:1] * 2}),
            ("G5", {"accounts": [(bytes(32), 0)]}),
            ("G6", {"accounts": [(bytes(32), v.U64_MAX)]}), ("G6", {"halving": v.U64_MAX}),
            ("G7", {"moduli": [key, ALICE.modulus, key]}),
            ("G8", {"engines": [((5, 6, 7), []), space, memory]}),
            ("G8", {"engines": [((8, 6, 7), []), space, memory]}),
            ("G8", {"engines": [((0, 0, 7), []), space, memory]}),
            ("G9", {"engines": [(targets, [1]), space, memory]}),
            ("G9", {"engines": [work, (targets, [16]), memory]}),
            ("G9", {"engines": [work, (targets, [15, 0]), memory]}),
            ("G9", {"engines": [work, (targets, [33, 0]), memory]}),
            ("G9", {"engines": [work, (targets, [16, 7]), memory]}),
            ("G9", {"engines": [work, space, (targets, [33, 1])]}),
            ("G9", {"engines": [work, space, (targets, [16, 0])]}),
            ("G9", {"engines": [work, space, (targets, [16, 257])]}),
        ]
        for rule, change in changes:
            self.assert_breaks(rule, v.Chain, encode_genesis(**change))
        for wrong in (b"", encode_genesis()[:-1], encode_genesis() + b"\0"):
            self.assert_breaks("G1", v.Chain, wrong)


class FileRuleTest(RuleTest):
    def test_rules(self):
        self.assert_breaks("F1", v.verify, b"")
        self.assert_breaks("F1", v.verify, b"DSCCHAIN\2\0" + WORLD.file[10:])
        self.assert_breaks("F2", v.verify, WORLD.file[:14])
        self.assert_breaks("F2", v.verify, WORLD.file[:50])
        for rest in (b"\0", u64(1), u64(v.U64_MAX)):
            error = self.assert_breaks("F2", v.verify, WORLD.file + rest)
            self.assertEqual(error.height, WORLD.chain.height)
        self.assert_breaks("B1", v.verify, WORLD.file + u64(0))

    def test_single_flips_are_all_rejected(self):
        data = bytearray(WORLD.file)
        flips = flip_test.choose(len(data), 200, 7)
        results = list(flip_test.flip_all(data, flips))
        self.assertEqual([flip for flip, _ in results], flips)
        self.assertEqual([flip for flip, rule in results if rule is None], [])
        self.assertEqual(data, WORLD.file)

    def test_truncations_are_rejected_or_a_shorter_chain(self):
        source = random.Random(3)
        for _ in range(30):
            self.assert_breaks("F2", v.verify, WORLD.file[:source.randrange(30, 900)])

    def test_noise_never_raises_anything_else(self):
        source = random.Random(4)
        for _ in range(500):
            noise = bytes(source.getrandbits(8) for _ in range(source.randrange(300)))
            for attempt in (v.decode_block, v.Chain, v.verify, WORLD.chain.fork().apply):
                self.assertRaises(Invalid, attempt, noise)


class PrimitiveTest(unittest.TestCase):
    def test_signature_out_of_range_is_refused(self):
        for i in range(100):
            message = bytes([i])
            signature = ALICE.sign(message)
            self.assertTrue(v.signature_is_valid(ALICE.modulus, message, signature))
            larger = int.from_bytes(signature, "big") + ALICE.n
            if larger < 1 << 2048:
                alias = larger.to_bytes(256, "big")
                self.assertFalse(v.signature_is_valid(ALICE.modulus, message, alias))
                return
        self.fail("no signature has an alias")

    def test_lanes_wrap_apart_from_each_other(self):
        source = random.Random(5)
        a, b = [[source.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF)) for _ in range(1024)]
                for _ in range(2)]
        pack = lambda lanes: int.from_bytes(struct.pack("<1024H", *lanes), "little")
        total = pack([(x + y) % 65536 for x, y in zip(a, b)])
        self.assertEqual(v.lanes_add(pack(a), pack(b)), total)
        self.assertEqual(v.lanes_subtract(total, pack(b)), pack(a))

    def test_a_tie_goes_to_the_lower_engine(self):
        proofs = [v.Proof(kind, b"", b"", (), b"") for kind in range(3)]
        qualities, targets = {0: 9, 1: 2, 2: 1}, (9, 4, 2)
        self.assertEqual(v.winner_of(proofs, qualities, targets).kind, 1)
        self.assertIsNone(v.winner_of([], {}, targets))

    def test_bech32m_of_a_known_text(self):
        self.assertEqual(v.bech32m("a", b""), "a1lqfn3a")

    def test_plain_blake3_gives_what_the_package_gives(self):
        if v.blake3 is None:
            self.skipTest("the package is not installed")
        for length in (0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3073, 5000):
            data = bytes(i % 251 for i in range(length))
            expected = v.blake3(data, derive_key_context="test").digest(length=200)
            self.assertEqual(blake3_pure.derive_key("test", data, 200), expected)
            keyed = v.blake3(data, key=FINGERPRINT * 2).digest()
            self.assertEqual(blake3_pure.keyed_hash(FINGERPRINT * 2, data), keyed)


class CommandTest(unittest.TestCase):
    """Runs the command on files and looks at status and output."""

    def run_on(self, data, *flags, command=v.main):
        out = io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "chain")
            with open(path, "wb") as file:
                file.write(data)
            with redirect_stdout(out), redirect_stderr(out):
                status = command([path, *flags])
        return status, out.getvalue()

    def test_valid(self):
        status, out = self.run_on(WORLD.file)
        self.assertEqual(status, 0)
        self.assertIn(WORLD.chain.state.hex(), out)
        self.assertEqual(self.run_on(WORLD.file, "--quiet"), (0, ""))
        status, out = self.run_on(WORLD.file, "--json")
        self.assertEqual((status, json.loads(out)["height"]), (0, WORLD.chain.height - 1))

    def test_invalid_names_height_and_rule(self):
        wrong = WORLD.file + u64(0)
        height = WORLD.chain.height
        status, out = self.run_on(wrong)
        self.assertEqual(status, 1)
        self.assertIn(f"height {height}: rule B1 (block-encoding)", out)
        status, out = self.run_on(wrong, "--json")
        found = json.loads(out)
        self.assertEqual((status, found["height"], found["rule"]), (1, height, "B1"))
        self.assertEqual(self.run_on(b"")[0], 1)

    def test_usage_and_unreadable(self):
        with redirect_stderr(io.StringIO()):
            self.assertEqual(v.main(["/nonexistent"]), 2)
            self.assertEqual(v.main([os.curdir]), 2)
            for arguments in ([], ["a", "b"], ["--unknown"]):
                with self.assertRaises(SystemExit) as caught:
                    v.main(arguments)
                self.assertEqual(caught.exception.code, 2)

    def test_flips(self):
        status, out = self.run_on(WORLD.file, "--flips", "20", command=flip_test.main)
        self.assertEqual(status, 0, out)
        self.assertIn("20 of 20", out)
        self.assertEqual(self.run_on(b"", command=flip_test.main)[0], 1)

    def test_vectors(self):
        good = {"merkle": [{"leaves": [], "root": "00" * 32}]}
        self.assertEqual(v.check_vectors(good), ({"merkle": 1}, []))
        for wrong in ({"merkle": [{"leaves": [], "root": "11" * 32}]}, {"merkle": [{}]},
                      {"merkle": 1}, {"other": []}):
            self.assertEqual(len(v.check_vectors(wrong)[1]), 1, wrong)


class ZCompleteTest(unittest.TestCase):
    """Runs last (unittest sorts by name): no rule is left without a test."""

    def test_every_rule_was_provoked(self):
        self.assertEqual(set(v.RULES) - PROVOKED, set())


if __name__ == "__main__":
    sys.exit(unittest.main())

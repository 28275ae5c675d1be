"""Follows a chain from export to export with the independent verifier.

Each export has to begin with the bytes of the one before; what is new is checked by every rule of
docs/protocol.md, and no transaction may come twice.
"""

import hashlib

from fleet import Failed, check
from verify_chain import Invalid, coins, decode_block, load, next_block, open_chain, transaction_id


class Audit:
    """What the exports so far have shown."""

    def __init__(self):
        self.chain, self.offset, self.digest = None, 0, None
        # Where each transaction is, and the hash of each block.
        self.heights, self.blocks = {}, []

    def take(self, path):
        """Checks what an export adds."""
        data = load(path)
        if self.chain is None:
            self.chain, self.offset = open_chain(data)
        else:
            before = hashlib.sha256(data[:self.offset]).digest()
            check(before == self.digest, f"the chain changed below height {self.chain.height}")
        try:
            while self.offset < len(data):
                block, after = next_block(self.chain, data, self.offset)
                self.chain.apply(block)
                self.note(block)
                self.offset = after
            self.chain.check_end()
        except Invalid as error:
            raise Failed(f"the verifier refuses the chain: {error}") from error
        self.digest = hashlib.sha256(data[:self.offset]).digest()

    def note(self, block):
        header, _, transactions = decode_block(block)
        height = len(self.blocks)
        self.blocks.append(header.hash.hex())
        for transaction in transactions:
            identity = transaction_id(self.chain.genesis.hash, transaction.unsigned).hex()
            known = self.heights.setdefault(identity, height)
            check(known == height, f"transaction {identity} is in blocks {known} and {height}")

    def compare(self, info):
        """Demands that a server that stands at the same height reports the same."""
        chain = self.chain
        seen = {
            "height": chain.tip_height, "tip": chain.parent.hex(), "state": chain.state.hex(),
            "supply": coins(chain.supply), "accounts": len(chain.accounts),
            "transactions": chain.transactions,
        }
        for field, value in seen.items():
            check(info[field] == value,
                  f"{field}: the verifier has {value}, the server {info[field]}")

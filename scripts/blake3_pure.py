"""BLAKE3 in plain Python: keyed hash and key derivation, written from the BLAKE3 paper.

Slow (some 15,000 blocks of 64 bytes a second) but it needs nothing but Python, so a chain can be
verified on a machine without packages.  `verify_chain.py` prefers the `blake3` package.
"""

import struct
from functools import lru_cache

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
KEYED_HASH, DERIVE_KEY_CONTEXT, DERIVE_KEY_MATERIAL = 16, 32, 64
BLOCK_LEN, CHUNK_LEN = 64, 1024
MASK = 0xFFFFFFFF

# The four column steps of a round, then its four diagonal steps.
LANES = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)


def _schedule():
    """Returns every quarter round of a compression: four state and two message indices."""
    steps, order = [], list(range(16))
    for _ in range(7):
        steps += [(*lane, order[2 * i], order[2 * i + 1]) for i, lane in enumerate(LANES)]
        order = [order[i] for i in PERMUTATION]
    return tuple(steps)


SCHEDULE = _schedule()


def _compress(cv, words, counter, length, flags):
    """Returns the 16 output words of one compression."""
    v = [*cv, *IV[:4], counter & MASK, counter >> 32 & MASK, length, flags]
    for a, b, c, d, x, y in SCHEDULE:
        va, vb = v[a], v[b]
        va = (va + vb + words[x]) & MASK
        vd = v[d] ^ va
        vd = (vd >> 16 | vd << 16) & MASK
        vc = (v[c] + vd) & MASK
        vb ^= vc
        vb = (vb >> 12 | vb << 20) & MASK
        va = (va + vb + words[y]) & MASK
        vd ^= va
        vd = (vd >> 8 | vd << 24) & MASK
        vc = (vc + vd) & MASK
        vb ^= vc
        v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & MASK, vc, vd
    low = [v[i] ^ v[i + 8] for i in range(8)]
    return low + [v[i + 8] ^ cv[i] for i in range(8)]


def _words(block):
    return struct.unpack("<16I", block.ljust(BLOCK_LEN, b"\0"))


def _chunk(key, chunk, index, flags):
    """Returns the arguments of a chunk's last compression."""
    cv = key
    blocks = [chunk[i:i + BLOCK_LEN] for i in range(0, len(chunk), BLOCK_LEN)] or [b""]
    for position, block in enumerate(blocks):
        mode = flags | (CHUNK_START if position == 0 else 0)
        if position == len(blocks) - 1:
            return cv, _words(block), index, len(block), mode | CHUNK_END
        cv = _compress(cv, _words(block), index, BLOCK_LEN, mode)[:8]


def _tree(key, data, index, flags):
    """Returns the arguments of a subtree's last compression."""
    if len(data) <= CHUNK_LEN:
        return _chunk(key, data, index, flags)
    chunks = (len(data) - 1) // CHUNK_LEN
    left = 1 << (chunks.bit_length() - 1)
    split = left * CHUNK_LEN
    halves = _tree(key, data[:split], index, flags), _tree(key, data[split:], index + left, flags)
    words = [word for half in halves for word in _compress(*half)[:8]]
    return key, words, 0, BLOCK_LEN, flags | PARENT


def _root(key, data, flags, length):
    cv, words, _, size, mode = _tree(key, data, 0, flags)
    output = b""
    for counter in range((length + BLOCK_LEN - 1) // BLOCK_LEN):
        output += struct.pack("<16I", *_compress(cv, words, counter, size, mode | ROOT))
    return output[:length]


@lru_cache(maxsize=64)
def _context_key(context):
    return struct.unpack("<8I", _root(IV, context.encode(), DERIVE_KEY_CONTEXT, 32))


def keyed_hash(key, message, length=32):
    """Returns `length` bytes of BLAKE3's keyed hash of `message` under a 32-byte `key`."""
    return _root(struct.unpack("<8I", key), message, KEYED_HASH, length)


def derive_key(context, material, length=32):
    """Returns `length` bytes of BLAKE3's key derivation from `material` for `context`."""
    return _root(_context_key(context), material, DERIVE_KEY_MATERIAL, length)

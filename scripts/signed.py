"""The blocks that a killed metronome had signed, as its disk has them."""

from fleet import check, fetch

MAGIC = b"DSCSIGN\x01"
HEAD_LEN = len(MAGIC) + 4
# Of a block: version u16, chain 32 bytes, height u64.
HEIGHT = slice(34, 42)
# CRC-32C (Castagnoli), reflected.
POLYNOMIAL = 0x82F63B78


def crc_of_byte(byte):
    for _ in range(8):
        byte = (byte >> 1) ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Signed:
    """What was signed at each height. A block may have left the metronome as soon as it is here,
    so it must be the block of its height for ever, however often the metronome is killed."""

    def __init__(self):
        self.blocks = {}

    def note(self, folder):
        """Reads both slots of a metronome that does not run; a torn one was never shown."""
        for path in folder.glob("signed-*"):
            record = path.read_bytes()
            block = record[HEAD_LEN:]
            whole = record.startswith(MAGIC) and \
                record[len(MAGIC):HEAD_LEN] == crc32c(block).to_bytes(4, "little")
            if whole:
                self.note_block(int.from_bytes(block[HEIGHT], "little"), block)

    def note_block(self, height, block):
        known = self.blocks.setdefault(height, block)
        check(known == block, f"the metronome signed two blocks of height {height}")

    def compare(self, url):
        """The ledger has these very blocks."""
        for height, block in self.blocks.items():
            status, body = fetch(f"{url}/v1/blocks/{height}/raw")
            check(status == 200 and body == block,
                  f"block {height} was signed and kept, and the ledger has another: {status}")
        count, self.blocks = len(self.blocks), {}
        return count

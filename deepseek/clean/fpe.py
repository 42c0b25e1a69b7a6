"""Format-preserving encryption of digits: FF1 of NIST SP 800-38G, radix 10, on AES; and of numbers below any limit.

Ten rounds of a Feistel network whose round function is a CBC-MAC of AES; checked against the samples of NIST.
"""

import math
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

ROUNDS = 10
MIN_DIGITS = 6  # digits: below, a table of all values could be made (SP 800-38G revision 1 asks for a million)


class DigitCipher:
    """FF1 under one key of 16, 24 or 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  single blocks: FF1 is the mode

    def encrypt(self, digits: str, tweak: bytes = b"") -> str:
        """Other digits, as many, by a permutation that key and tweak choose. ValueError for fewer than six digits."""
        if len(digits) < MIN_DIGITS or not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"{MIN_DIGITS} decimal digits or more can be encrypted")
        total, left = len(digits), len(digits) // 2
        right = total - left
        size = math.ceil(math.ceil(right * math.log2(10)) / 8)
        wide = 4 * math.ceil(size / 4) + 4
        head = bytes([1, 2, 1]) + (10).to_bytes(3, "big") + bytes([ROUNDS, left % 256])
        head += total.to_bytes(4, "big") + len(tweak).to_bytes(4, "big")
        fill = tweak + bytes((-len(tweak) - size - 1) % 16)
        state = self._aes.update(head)
        a, b = int(digits[:left]), int(digits[left:])
        for turn in range(ROUNDS):
            block = fill + bytes([turn]) + b.to_bytes(size, "big")
            mixed = self._expand_block(self._compute_mac(state, block), wide)
            limit = 10 ** (left if turn % 2 == 0 else right)
            a, b = b, (a + int.from_bytes(mixed, "big")) % limit
        return f"{a:0{left}d}{b:0{right}d}"

    def _compute_mac(self, state: bytes, data: bytes) -> bytes:
        for start in range(0, len(data), 16):
            state = self._aes.update(bytes(x ^ y for x, y in zip(state, data[start : start + 16], strict=True)))
        return state

    def _expand_block(self, block: bytes, size: int) -> bytes:
        out = block
        for count in range(1, math.ceil(size / 16)):
            out += self._aes.update(bytes(x ^ y for x, y in zip(block, count.to_bytes(16, "big"), strict=True)))
        return out[:size]

    def encrypt_below(self, number: int, limit: int, tweak: bytes = b"") -> int:
        """Another number below `limit`, by a permutation of these numbers: encrypted until it lies among them again."""
        width = max(MIN_DIGITS, len(str(limit - 1)))
        while True:
            number = int(self.encrypt(f"{number:0{width}d}", tweak))
            if number < limit:
                return number


@lru_cache(maxsize=8)
def get_digit_cipher(key: bytes) -> DigitCipher:
    return DigitCipher(key)

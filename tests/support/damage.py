"""Damage that befalls the bytes of a file: flipped, cut, lost, gained, zeroed, garbled, swapped; by a seeded lot."""

import random
from collections.abc import Callable


def flip_a_bit(content: bytes, lot: random.Random) -> bytes:
    place = lot.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << lot.randrange(8)]) + content[place + 1 :]


def flip_bytes(content: bytes, lot: random.Random) -> bytes:
    changed = bytearray(content)
    for place in lot.sample(range(len(content)), lot.randint(2, 40)):
        changed[place] ^= lot.randint(1, 255)
    return bytes(changed)


def cut_the_end(content: bytes, lot: random.Random) -> bytes:
    return content[: lot.randrange(len(content))]


def cut_at_a_block(content: bytes, lot: random.Random) -> bytes:
    return content[: lot.randrange(len(content)) // 512 * 512]


def lose_a_piece(content: bytes, lot: random.Random) -> bytes:
    start = lot.randrange(len(content))
    return content[:start] + content[start + lot.choice([1, 3, 512, 1000]) :]


def gain_a_piece(content: bytes, lot: random.Random) -> bytes:
    place = lot.randint(0, len(content))
    return content[:place] + lot.choice([bytes(512), lot.randbytes(lot.randint(1, 600)), b" "]) + content[place:]


def zero_a_piece(content: bytes, lot: random.Random) -> bytes:
    start = lot.randrange(len(content))
    length = min(lot.choice([1, 16, 512, 2048]), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def garble_a_piece(content: bytes, lot: random.Random) -> bytes:
    start = lot.randrange(len(content))
    length = min(lot.choice([16, 512, 4096]), len(content) - start)
    return content[:start] + lot.randbytes(length) + content[start + length :]


def swap_two_pieces(content: bytes, lot: random.Random) -> bytes:
    size = lot.choice([1, 32, 128])
    one, other = sorted(lot.sample(range(len(content) // size), 2))
    pieces = [content[at * size : (at + 1) * size] for at in (one, other)]
    between = content[(one + 1) * size : other * size]
    return content[: one * size] + pieces[1] + between + pieces[0] + content[(other + 1) * size :]


KINDS: list[Callable[[bytes, random.Random], bytes]] = [
    flip_a_bit, flip_bytes, cut_the_end, cut_at_a_block, lose_a_piece, gain_a_piece, zero_a_piece, garble_a_piece,
    swap_two_pieces,
]  # fmt: skip

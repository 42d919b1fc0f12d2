"""Seeds for independent random streams, derived from what each stream is for."""

import hashlib


def derive(*parts: int | str) -> int:
    """A seed in [0, 2**63) that depends on every part and on their order.

    >>> derive(0, "run", 1) == derive(0, "run", 1) != derive(0, "run", 2)
    True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

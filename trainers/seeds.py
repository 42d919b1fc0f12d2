"""Seeds for independent random streams, derived from what each stream is for."""

import hashlib


def derive(*parts: int | str) -> int:
    """Return a seed in [0, 2**63) that depends on every part and on the order of the parts.

    >>> derive(0, "run", 1) == derive(0, "run", 1) != derive(0, "run", 2)
    True
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

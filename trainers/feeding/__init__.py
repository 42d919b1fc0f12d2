"""Samples on their way to the network: read, decoded, changed at random, in batches."""

"""Samples on their way to the network: read, decoded, augmented, in batches."""

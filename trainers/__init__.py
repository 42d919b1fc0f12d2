"""Train one binary network: layers, optimizers, models, data, tasks, loop. PyTorch and NumPy only."""

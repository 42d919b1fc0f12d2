"""Train one binary network: layers, optimizers, models, data, tasks, loop. PyTorch, NumPy, Pillow only."""

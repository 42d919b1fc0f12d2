"""HTTP: the app, its routes, who may ask, and what is computed for whoever asks."""

"""The HTTP API: the app, its routes, authentication, and the analyses computed on request."""

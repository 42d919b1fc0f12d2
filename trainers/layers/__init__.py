"""Binary layers and ReActNet's RSign and RPReLU."""

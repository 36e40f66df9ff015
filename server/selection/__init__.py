"""Which models of which repositories this machine serves, and with which configuration."""

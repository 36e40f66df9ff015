"""Load on a server: who makes it, in which order, and what it measured."""

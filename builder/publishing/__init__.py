"""Publishing: the model repository, written whole or not at all, and what is in it."""

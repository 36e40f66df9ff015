"""The description for Triton: config.pbtxt."""

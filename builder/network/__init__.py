"""The network: its architecture, its weights on disk, and the checkpoints that ship."""

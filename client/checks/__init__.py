"""Checks: whether answers are right, and whether figures can be trusted."""

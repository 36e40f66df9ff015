"""Statistics: pure functions of arrays, and figures as text."""

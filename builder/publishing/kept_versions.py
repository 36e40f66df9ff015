"""How many versions of a model a build keeps, and has served: the defaults of `build --keep` and `build --serve`."""

KEPT_VERSIONS = 2
"""The published version and the one before it; the one served until now stays in any case."""

SERVED_VERSIONS = 1
"""Of the newest ones, side by side."""

"""The embedded Triton: the real `tritonserver` from a PyPI wheel, for machines without Docker."""

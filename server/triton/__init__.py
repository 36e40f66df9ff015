"""The tritonserver process: put together, started, looked after and ended."""

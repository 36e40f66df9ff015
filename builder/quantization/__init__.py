"""Quantisation: 8-bit graphs from a float graph and a calibration."""

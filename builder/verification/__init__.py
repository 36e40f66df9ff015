"""Verification: does a built model compute what the network computes?"""

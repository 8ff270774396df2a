"""Entropy coding: integers to bytes and back, without knowing what the integers are for."""

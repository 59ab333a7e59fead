"""Families drawn at random, played in the model and in a kernel, and what differs."""

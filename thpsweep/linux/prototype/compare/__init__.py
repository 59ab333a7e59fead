"""Families drawn at random, acted in the model and in a kernel, and what differs."""

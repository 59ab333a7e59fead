"""The mechanisms that no kernel has, run in one: a module for a throw-away virtual machine, and what is learnt from it."""

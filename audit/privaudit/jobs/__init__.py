"""Calling a function somewhere else: processes of this machine, and what is sent to them."""

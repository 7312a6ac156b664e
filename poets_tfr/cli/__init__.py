"""The command lines: one module a command, each of which calls the Python interface."""

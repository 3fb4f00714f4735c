"""Commands that run other commands: one module each, as in `cli`."""

"""A child process in which a stranger's file is parsed and run: no network, no writing, and one file to read.

`level` says what the machine offers, `child` is the process, `confine` how it locks itself down, `protocol` what goes
through the pipes, `launch` how it starts, and `classifier` what the rest of onepixel sees. `docs/how-to/sandbox.md`
says what it promises.

This module imports nothing: the child locks itself down while it has a single thread, before NumPy starts its own.
"""

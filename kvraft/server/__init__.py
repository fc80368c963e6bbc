"""The member process: the only place where trio, sockets and the disk thread meet.

``driver`` is the exception that proves it: synchronous and free of I/O, so that the simulator runs the same code.
"""

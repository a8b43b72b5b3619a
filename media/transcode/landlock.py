"""Landlock: no file is written and no other process is reached from here on.

`/proc/PID/mem` of the server is a file to whoever runs as the same user; a filter of system calls
sees no path. Linux refuses it, and signals, to a process in a Landlock domain.
"""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile

# linux/landlock.h; the numbers are the same on every architecture
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 5, 1 << 8, 1 << 14
_WRITES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Opening for writing; removing and making entries of every kind."""
_REFER, _FIRST_REFER, _FIRST_TRUNCATE = 1 << 13, 2, 3
_SCOPES, _FIRST_SCOPES = 0b11, 6
"""Abstract Unix sockets and signals."""


def shut_in(libc: ctypes.CDLL) -> int:
    """Restrict this thread and those it starts; return the kernel's Landlock version, 0 without.

    What stays: reading, writing below `/dev` (GPUs), and files of its own in the folder for
    temporary ones (the table of tone curves). New privileges must have been given up before.
    """
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return 0
    writes = _WRITES
    if version >= _FIRST_REFER:
        writes |= _REFER
    if version >= _FIRST_TRUNCATE:
        writes |= _TRUNCATE
    scopes = _SCOPES if version >= _FIRST_SCOPES else 0
    attributes = struct.pack("=QQQ", writes, 0, scopes)
    size = len(attributes) if scopes else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return 0
    try:
        _allow(libc, ruleset, "/dev", _WRITE_FILE)
        temporary = _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | (_TRUNCATE & writes)
        _allow(libc, ruleset, tempfile.gettempdir(), temporary)
        if libc.syscall(_RESTRICT_SELF, ruleset, 0):
            return 0
    finally:
        os.close(ruleset)
    return int(version)


def _allow(libc: ctypes.CDLL, ruleset: int, folder: str, access: int) -> None:
    beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, beneath)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(beneath)

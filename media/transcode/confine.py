"""What a worker gives up before it reads a byte from outside: descriptors, memory, system calls.

Foreign bytes meet native decoders here. Whoever takes over such a process shall find no file of
the server open, start no program, write no file and reach neither the network nor the server.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import sys

from media.transcode.landlock import shut_in

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC = 1, 1
SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
MAX_OPEN_FILES = 64

# linux/seccomp.h, linux/bpf_common.h, linux/errno.h
_RET_ALLOW, _RET_ERRNO_EPERM = 0x7FFF0000, 0x00050001
_LOAD_WORD, _JUMP_EQUAL, _JUMP_NOT_BELOW, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT = 0, 4
_INSTRUCTION = struct.Struct("=HBBI")
_X32_BIT = 0x40000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* (linux/audit.h)."""
DENIED = {
    # network: the one socket is inherited
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    # other programs and processes
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kill": (62, 129),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    # real-time scheduling: as root SVT-AV1 takes it for its whole process and starves the server
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    # the kernel's larger attack surfaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "open_by_handle_at": (304, 265),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
}
"""System calls that are refused, with their numbers on x86-64 and on 64-bit ARM."""


def confine(descriptor: int, *, nice: int, memory_bytes: int) -> None:
    """Confine this process, before it starts a thread; `descriptor` and 0 to 2 stay open.

    Nothing here is fatal where a kernel lacks it: the process boundary itself remains.
    """
    # Ctrl-C and service managers signal the whole group: the server decides when workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, 2**16)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(nice)
    if sys.platform != "win32":
        _limit(memory_bytes)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with contextlib.suppress(OSError):
            shut_in(libc)
        _filter_calls(libc)


def _limit(memory_bytes: int) -> None:
    """Bound memory and descriptors; no core dumps of pictures, no real-time scheduling."""
    import resource  # not on Windows

    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        # Writable private memory. Address space would count libraries too, 500 MiB of them.
        (resource.RLIMIT_DATA, memory_bytes),
    ]
    if sys.platform == "linux":
        limits.append((resource.RLIMIT_RTPRIO, 0))
    for kind, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _filter_calls(libc: ctypes.CDLL) -> None:
    """Have the kernel refuse what a decoder never needs, with EPERM."""
    machine = os.uname().machine
    program = filter_program(machine)
    if program is None:
        return

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    count = len(program) // _INSTRUCTION.size
    descriptor = Program(count, program)
    # Libraries may have started threads when they were imported: the filter is for those too.
    flags = SECCOMP_FILTER_FLAG_TSYNC
    call = SECCOMP_CALL[machine]
    if libc.syscall(call, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(descriptor)):
        libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(descriptor), 0, 0)


def filter_program(machine: str) -> bytes | None:
    """Return a classic BPF program over `struct seccomp_data`; None for an unknown machine."""
    if machine not in ARCHITECTURES:
        return None
    architecture = ARCHITECTURES[machine]
    numbers = [x86 if machine == "x86_64" else arm for x86, arm in DENIED.values()]
    # Another architecture's calls have other numbers: refused altogether.
    rules = [
        (_LOAD_WORD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _RET_ERRNO_EPERM),
        (_LOAD_WORD, 0, 0, _NUMBER_AT),
        (_JUMP_NOT_BELOW, len(numbers) + 1, 0, _X32_BIT),
        *((_JUMP_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ERRNO_EPERM),
    ]
    return b"".join(_INSTRUCTION.pack(*rule) for rule in rules)

"""The kinds of system calls that tests/faults/faulty.c tells apart: what they are called,
and how each may plausibly fail.
"""
import ctypes
import errno
import fcntl
import platform
import socket

SHORT = -1
THREAD = 2000

# asm-generic, which every architecture after x86-64 has.
GENERIC = {
    "getcwd": 17, "fcntl": 25, "ioctl": 29, "flock": 32, "mkdirat": 34, "unlinkat": 35,
    "faccessat": 48, "fchmod": 52, "fchmodat": 53, "openat": 56, "close": 57,
    "getdents64": 61, "read": 63, "write": 64, "ppoll": 73, "signalfd4": 74,
    "newfstatat": 79, "exit_group": 94, "waitid": 95, "unshare": 97, "futex": 98,
    "nanosleep": 101, "timer_create": 107, "timer_settime": 110, "timer_delete": 111,
    "sched_yield": 124, "kill": 129, "tgkill": 131, "sigaltstack": 132,
    "rt_sigprocmask": 135, "rt_sigtimedwait": 137, "prctl": 167, "getpid": 172, "getppid": 173, "geteuid": 175,
    "gettid": 178, "socket": 198, "bind": 200, "listen": 201, "connect": 203,
    "getsockname": 204, "getpeername": 205, "setsockopt": 208, "getsockopt": 209,
    "shutdown": 210, "sendmsg": 211, "recvmsg": 212, "munmap": 215, "mmap": 222, "mprotect": 226,
   
    "madvise": 233, "accept4": 242, "prlimit64": 261, "sendmmsg": 269,
    "sched_setattr": 274, "sched_getattr": 275, "renameat2": 276, "membarrier": 283,
    "close_range": 436,
}
X86_64 = {
    "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11,
    "rt_sigprocmask": 14, "ioctl": 16,
    "sched_yield": 24, "madvise": 28, "nanosleep": 35, "getpid": 39, "socket": 41,
    "connect": 42, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49, "listen": 50,
    "getsockname": 51, "getpeername": 52, "setsockopt": 54, "getsockopt": 55, "kill": 62,
    "fcntl": 72, "flock": 73, "getcwd": 79, "fchmod": 91, "geteuid": 107, "getppid": 110,
    "rt_sigtimedwait": 128, "sigaltstack": 131, "prctl": 157, "gettid": 186, "futex": 202,
    "getdents64": 217, "timer_create": 222, "timer_settime": 223, "timer_delete": 226,
    "exit_group": 231, "tgkill": 234, "waitid": 247, "openat": 257, "mkdirat": 258,
    "newfstatat": 262, "unlinkat": 263, "fchmodat": 268, "faccessat": 269, "ppoll": 271,
    "unshare": 272, "accept4": 288, "signalfd4": 289, "prlimit64": 302, "sendmmsg": 307,
    "sched_setattr": 314, "sched_getattr": 315, "renameat2": 316, "membarrier": 324,
    "close_range": 436,
}
NUMBERS = {name: nr for nr, name in
           ((nr, name) for name, nr in
            (X86_64 if platform.machine() == "x86_64" else GENERIC).items())}
NAMES = {nr: name for name, nr in NUMBERS.items()} | {THREAD: "clone"}

USES = {
    "recvmsg": {0: "", socket.MSG_PEEK: "peek", socket.MSG_TRUNC: "drop"},
    "fcntl": {1: "GETFD", 3: "GETFL", 5: "GETLK", 6: "SETLK", 7: "SETLKW",
              fcntl.F_DUPFD_CLOEXEC: "DUPFD_CLOEXEC"},
}

# They fail where a filter refuses them from the beginning, or never.
ALWAYS = {"getpid", "getppid", "gettid", "geteuid"}
# The process ends; nothing is asked.
NEVER = {"exit_group", "sched_yield"}

# Calls on the program's own streams, and the errors of a connection that is no more: of these
# the program may be told.
STREAM_CALLS = {"sendmmsg", "recvmsg", "recvmsg peek"}
TOLD = {"EPIPE", "ECONNRESET", "ETIMEDOUT"}

# What may last for a while.
PASSING = {"sendmmsg": "ENOBUFS", "recvmsg peek": "ENOMEM", "mmap": "ENOMEM",
           "membarrier 8": "ENOMEM", "getsockopt 1/57": "ENOMEM", "accept4": "EMFILE"}

# Options that a kernel may not have.
NEW_OPTIONS = {"getsockopt 1/55", "getsockopt 1/57", "getsockopt 1/60", "getsockopt 6/25",
               "getsockopt 6/31", "getsockopt 6/36"}

# By name and use, or by name; the first of each is the one of a short run.
ERRORS = {
    "sendmmsg": "SHORT ENOBUFS EAGAIN EINTR ENOMEM ECONNRESET EPIPE ETIMEDOUT",
    "recvmsg peek": "ENOMEM SHORT EAGAIN EINTR EPERM ECONNRESET",
    "recvmsg drop": "ENOMEM EAGAIN EINTR",
    "recvmsg": "SHORT EAGAIN ECONNRESET",
    "sendmsg": "SHORT EAGAIN EINTR EPIPE ENOBUFS",
    "read": "SHORT EAGAIN EINTR ECONNRESET",
    "write": "SHORT EAGAIN EPIPE",
    "getsockopt": "ENOMEM EPERM",
    "setsockopt": "ENOMEM EPERM",
    "fcntl GETFD": "EBADF EPERM",
    "fcntl GETFL": "EPERM",
    "fcntl GETLK": "ENOLCK",
    "fcntl SETLK": "ENOLCK EAGAIN EINTR",
    "fcntl SETLKW": "EINTR ENOLCK EDEADLK",
    "fcntl DUPFD_CLOEXEC": "EMFILE EINVAL",
    "ioctl": "EINVAL ENOTTY",
    "socket": "EMFILE ENFILE ENOMEM EACCES EAFNOSUPPORT",
    "bind": "EACCES EADDRINUSE ENOSPC EROFS ENOENT",
    "listen": "EADDRINUSE ENOMEM",
    "connect": "EAGAIN ECONNREFUSED EACCES",
    "accept4": "EMFILE ENFILE ENOMEM ECONNABORTED EINTR",
    "close": "EINTR EIO",
    "openat": "EMFILE EACCES ENOENT",
    "mkdirat": "EACCES EROFS ENOSPC",
    "newfstatat": "ENOENT EACCES ENOMEM",
    "unlinkat": "EACCES EROFS",
    "renameat2": "EINVAL EEXIST ENOSPC EACCES",
    "fchmod": "EPERM",
    "fchmodat": "EPERM EROFS",
    "faccessat": "EACCES EROFS",
    "getdents64": "ENOENT",
    "flock": "EAGAIN ENOLCK EINTR",
    "mmap": "ENOMEM EPERM",
    "munmap": "ENOMEM",
    "madvise": "ENOMEM EINVAL",
    "membarrier": "ENOMEM EPERM ENOSYS",
    "futex": "EINTR EAGAIN ETIMEDOUT",
    "ppoll": "ENOMEM EINTR",
    "nanosleep": "EINTR",
    "timer_create": "EAGAIN ENOMEM",
    "timer_settime": "EINVAL",
    "timer_delete": "EINVAL",
    "rt_sigtimedwait": "EAGAIN EINTR",
    "kill": "EPERM",
    # ESRCH is a promise that the thread is no more, and its stack can go.
    "tgkill": "EPERM",
    "waitid": "ECHILD",
    "signalfd4": "EMFILE ENOMEM",
    "close_range": "EMFILE ENOMEM ENOSYS",
    "unshare": "EPERM ENOMEM",
    "prctl": "EINVAL",
    "sched_getattr": "EPERM",
    "sched_setattr": "EPERM EINVAL",
    "prlimit64": "EPERM",
    "sigaltstack": "EPERM",
    "getsockname": "ENOBUFS",
    "getpeername": "ENOBUFS",
    "shutdown": "ENOTCONN",
    "getcwd": "ENOENT",
    "clone": "EAGAIN ENOMEM EPERM",
    "mprotect": "ENOMEM EPERM",
    "rt_sigprocmask": "EPERM",
}


class Kind:
    """One kind of call: its word in the table of faulty.c, its name."""

    def __init__(self, word):
        self.word = word
        nr, use = (word >> 48) - 1, word & 0xffffffffffff
        self.call = NAMES.get(nr, str(nr))
        if self.call in ("getsockopt", "setsockopt"):
            self.use = f"{use >> 16}/{use & 0xffff}"
        else:
            self.use = USES.get(self.call, {}).get(use, str(use) if use else "")
        self.name = f"{self.call} {self.use}".strip()

    def errors(self):
        """The names of its errors."""
        if self.call in NEVER | ALWAYS:
            return []
        return ERRORS.get(self.name, ERRORS.get(self.call, "EPERM")).split()


def number(error):
    """What faulty.c calls an error."""
    return SHORT if error == "SHORT" else getattr(errno, error)


def word(name):
    """The word of a kind by its name; "all" is every use of a call."""
    call, _, use = name.partition(" ")
    nr = THREAD if call == "clone" else NUMBERS[call]
    if "/" in use:
        level, option = use.split("/")
        value = int(level) << 16 | int(option)
    elif use == "all":
        value = 2**48 - 1
    elif use in USES.get(call, {}).values():
        value = next(v for v, n in USES[call].items() if n == use)
    else:
        value = int(use or 0)
    return ctypes.c_uint64((nr + 1) << 48 | value).value

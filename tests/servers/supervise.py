"""supervise.py SECONDS COMMAND...: run a command, then leave nothing of it behind.

The process makes itself the reaper of its descendants (PR_SET_CHILD_SUBREAPER), so
that daemons which fork away from their parent still end up here.  When the command
has ended, or SECONDS have passed, every descendant is killed.  The exit status is
the command's; 124 when its time was up; 128 + n when signal n ended it.
"""
import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def descendants(root):
    """Every living process below root; a zombie counts as gone."""
    children = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(name))
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_all(limit=5.0):
    """Kill until nothing is left: a process may fork while we look at it."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        left = descendants(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def main():
    seconds, command = float(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("supervise.py: cannot become a subreaper")

    def interrupted(_number, _frame):
        kill_all()
        os._exit(130)

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    child = subprocess.Popen(command)
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        # SIGTERM first: the case's trap says what it was waiting for.
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            pass
        status = 124
    kill_all()
    sys.exit(status if status >= 0 else 128 - status)


main()

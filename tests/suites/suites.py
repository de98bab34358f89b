"""The suites: how each is run.

run(name, only, way) runs one part of a suite, all its cases or only the given ones,
and returns {case: (status, why)} with the statuses "ok", "skip" and "fail".  way has
the environment of the run; everything it starts is gone when it returns.  watched: a
program in which the library must have been, by its name.
"""
import json
import os
import sys
import tempfile

from haproxy_suite import Haproxy
from memcached_suite import Memcached
from postgresql_suite import PostgreSQL
from redis_suite import Redis

HERE = os.path.dirname(os.path.abspath(__file__))


class Python:
    """CPython's own tests."""

    watched = None  # cases.py sees to it
    case_seconds = 60
    part_seconds = 600
    parts = """test_socket test_select test_selectors test_poll test_epoll
        test_socketserver test_httpservers test_httplib test_urllib2_localnet
        test_ftplib test_smtplib test_smtpd test_poplib test_imaplib test_nntplib
        test_telnetlib test_xmlrpc test_docxmlrpc test_wsgiref test_asyncore
        test_asynchat test_ssl test_timeout test_asyncio test_logging
        test_subprocess test_popen test_pipes test_os test_posix test_pty
        test_openpty test_fork1 test_wait3 test_wait4 test_signal
        test_threadsignals test_eintr test_faulthandler test_thread
        test_threading test_queue test_multiprocessing_fork
        test_multiprocessing_forkserver test_multiprocessing_spawn
        test_concurrent_futures test_io test_file test_fileio test_mmap
        test_fcntl test_ioctl test_resource test_tempfile test_shutil test_mailbox
        test_atexit test_cmd_line""".split()
    # Nobody answers on a virtual machine's own VSOCK: these wait for ever, natively too.
    without = ["test.test_socket.ThreadedVSOCKSocketStreamTest.testStream"]

    def run(self, part, only, way):
        results = {}
        report = tempfile.mktemp(dir=way.scratch)
        skip, left = list(self.without), 4
        while left:
            left -= 1
            open(report, "w", encoding="utf-8").close()
            lines = sorted(only) or []
            lines += [f"-{name}" for name in skip]
            status, _ = way.run(
                self.part_seconds,
                [sys.executable, os.path.join(HERE, "cases.py"), report,
                 str(self.case_seconds), part],
                "".join(f"{line}\n" for line in lines))
            began = self.read(report, results)
            if status == 0:
                break
            # It died.  The rest is run without what it died of.
            if began is None:
                results[f"{part} (the process)"] = ("fail", f"ended with {status}")
                break
            results[began] = ("fail", f"the process ended with {status}")
            skip += [name for name in results if name not in skip]
        os.unlink(report)
        return results

    @staticmethod
    def read(report, results):
        """Adds what the report says; returns the case that was under way, if any."""
        began = None
        with open(report, encoding="utf-8") as lines:
            for line in lines:
                try:
                    what = json.loads(line)
                except ValueError:
                    break
                if "begun" in what:
                    began = what["case"]
                else:
                    began = None
                    results[what["case"]] = (what["status"], what["why"])
        return began


class StressNg:
    """stress-ng's own verification of what its stressors do."""

    watched = None
    seconds = 2
    parts = """sock sockabuse sockdiag sockfd sockmany sockpair udp udp-flood epoll
        poll dup fork vfork vforkmany clone close daemon sendfile splice tee
        pipe fifo eventfd sigfd sigpipe sigabrt sigsegv sigsuspend pthread handle
        seccomp zombie""".split()

    def run(self, part, only, way):
        command = ["stress-ng", f"--{part}", "2", "--verify", "--timeout",
                   f"{self.seconds}s", "--no-rand-seed", "--temp-path", way.scratch]
        status, said = way.run(60, command)
        # 3: cannot be run here, 4: not on this machine.
        what = {0: "ok", 3: "skip", 4: "skip"}.get(status, "fail")
        return {part: (what, f"ended with {status}\n{said}")}


SUITES = {"python": Python(), "stress-ng": StressNg(), "redis": Redis(),
          "memcached": Memcached(), "postgresql": PostgreSQL(),
          "haproxy": Haproxy()}

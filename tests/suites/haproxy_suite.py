"""haproxy's reg-tests, against Debian's haproxy.

They are written for vtest, which Debian does not have; varnishtest, of which it is a
part, runs nearly all of them.  It is client and server, and preloaded too.
"""
import os
import re

from sources import copy_to, source_of


class Haproxy:
    """Each file of reg-tests is a case."""

    watched = "haproxy"
    at_once = 4
    case_seconds = 30
    parts = ["reg-tests"]

    def run(self, part, only, way):
        place = copy_to(way.place(), source_of("haproxy"), part)
        files = sorted(only) or sorted(
            os.path.relpath(f"{where}/{name}", place)
            for where, _, names in os.walk(f"{place}/{part}") for name in names
            if name.endswith(".vtc"))
        command = ["env", "HAPROXY_PROGRAM=/usr/sbin/haproxy", "HAPROXY_ARGS=-dM",
                   f"TMPDIR={place}", "varnishtest", "-k", "-b", "2097152",
                   "-j", str(self.at_once), "-t", str(self.case_seconds), *files]
        _, said = way.run(self.case_seconds * len(files), command, place=place)
        results = {name: ("fail", said[-2000:]) for name in files}
        told = 0
        for line in re.finditer(r"^#\s+top\s+TEST (\S+) (\S+).*$", said, re.M):
            name, what = line.groups()
            status = {"passed": "ok", "skipped": "skip"}.get(what, "fail")
            results[name] = (status, said[told:line.end()][-4000:])
            told = line.end()
        return results

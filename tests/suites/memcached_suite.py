"""memcached's own tests, against Debian's memcached."""
import os
import re

from sources import copy_to, edit, source_of
from way import worst

# Debian's binary does not know the option that the tests give their own, and the tests
# use TCP only where it knows no Unix sockets.
WRAPPER = """#!/bin/sh
case $* in
-h) exec /usr/bin/memcached -h %s ;;
esac
exec /usr/bin/memcached $(echo " $*" | sed 's/ -o relaxed_privileges//')
"""

# Values, paths and random words in the names of what is tested.
VARIES = re.compile(r"'.*|/\S*|[A-Z]{20,}|\d+")


class Memcached:
    """A test is a file of t, a case is what it says of one thing."""

    watched = "memcached"
    at_once = 4
    # A thousand handshakes of TLS take a minute on a busy machine.
    file_seconds = 300
    part_seconds = 1800
    parts = ["unix", "tcp", "tls"]

    def run(self, part, only, way):
        place = self.tree(part, way)
        tap = f"{place}/tap"
        # A case begins with its file.
        files = sorted({case.partition(": ")[0] for case in only})
        command = ["env", f"PERL_TEST_HARNESS_DUMP_TAP={tap}",
                   f"SSL_TEST={int(part == 'tls')}", "prove", "--merge", "--jobs",
                   str(self.at_once), "--exec", f"timeout {self.file_seconds} perl",
                   *(files or self.files(place))]
        _, said = way.run(self.part_seconds, command, place=place)
        results = {}
        for name in files or self.files(place):
            results.update(self.read(name, f"{tap}/{name}", said))
        return results

    @staticmethod
    def files(place):
        # whitespace.t looks at the spelling of memcached's source.
        return sorted(f"t/{name}" for name in os.listdir(f"{place}/t")
                      if name.endswith(".t") and name != "whitespace.t")

    @staticmethod
    def tree(part, way):
        place = copy_to(way.place(), source_of("memcached"), "t", "doc")
        os.makedirs(f"{place}/tmp")
        for where, _, names in os.walk(f"{place}/t"):
            for name in names:
                if name.endswith((".t", ".pm")):
                    edit(f"{where}/{name}", "/tmp/", f"{place}/tmp/")
        with open(f"{place}/memcached-debug", "w", encoding="utf-8") as wrapper:
            wrapper.write(WRAPPER % ("| grep -v unix-socket" if part == "tcp" else ""))
        with open(f"{place}/timedrun", "w", encoding="utf-8") as timed:
            timed.write('#!/bin/sh\nshift\nexec "$@"\n')
        for name in ("memcached-debug", "timedrun"):
            os.chmod(f"{place}/{name}", 0o755)
        return place

    @staticmethod
    def read(name, path, said):
        """What TAP says.  prove lists the files that did not end well."""
        results, text = {}, ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as tap:
                text = tap.read()
        for bad, what in re.findall(r"^(not )?ok \d+(.*)$", text, re.M):
            what = VARIES.sub("*", what.strip(" -")) or "(no name)"
            case = f"{name}: {what[:100]}"
            status = "skip" if "# skip" in what.lower() else "fail" if bad else "ok"
            worst(results, case, status, text[-2000:] if bad else "")
        lost = re.search(rf"^{re.escape(name)} +\(Wstat.*$", said, re.M)
        if re.search(r"^1\.\.0 # skip", text, re.M | re.I):
            results[name] = ("skip", text)
        else:
            good = text and not (lost and "Wstat: 0" not in lost[0])
            results[f"{name}: (its end)"] = ("ok" if good else "fail",
                                             f"{lost and lost[0]}\n{text[-2000:]}")
        return results

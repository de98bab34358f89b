"""PostgreSQL's own tests, against Debian's: pg_regress and pg_isolation_regress, which
Debian's client package has, with the SQL of the source, and pgbench in many manners.

Server and clients are preloaded.  PostgreSQL refuses to run as root.
"""
import glob
import os
import re
import shutil
import subprocess

from sources import copy_to, source_of, unpacked
from way import free_port, worst

# Starts a server in the directory one is in, runs a command, ends the server.
SERVER = """
    bin=$1 port=$2; shift 2
    PATH=$bin:$PATH; export PATH PGPORT=$port PGUSER=weir PGDATABASE=postgres
    initdb -D cluster -U weir -A trust -E UTF8 --no-locale -N >initdb || exit 1
    postgres -D cluster -c listen_addresses=127.0.0.1 -c unix_socket_directories="$PWD" \\
        -c fsync=off -c max_prepared_transactions=10 >server 2>&1 &
    until psql -h "$PWD" -X -c 'select 1' >/dev/null 2>&1; do
        kill -0 $! || exit 1
        sleep 0.1
    done
    "$@"; status=$?
    kill -INT $!; wait $! && exit $status
"""


class PostgreSQL:
    """Parts: the regression tests over Unix sockets and TCP; several sessions, step by
    step; pgbench."""

    watched = "postgres"
    part_seconds = 1200
    parts = ["regress", "regress-tcp", "isolation", "pgbench"]

    def run(self, part, only, way):
        bindir = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        place = way.place()
        if part == "pgbench":
            command = ["sh", "-c", PGBENCH, "sh", place]
        else:
            command = self.regress(part, bindir, place)
        own = []
        if os.getuid() == 0:
            own = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            for where, _, names in os.walk(place):
                for path in (where, *(f"{where}/{name}" for name in names)):
                    shutil.chown(path, "postgres", "postgres")
        status, said = way.run(self.part_seconds, [
            *own, "sh", "-c", SERVER, "sh", bindir, str(free_port()), *command],
            place=place)
        results = {"(its end)": ("fail" if status else "ok",
                                 f"ended with {status}\n{said[-2000:]}")}
        if part == "pgbench":
            read_pgbench(said, results)
        else:
            self.read(said, place, results)
        return results

    def regress(self, part, bindir, place):
        """The tests' own C functions are built with the headers of the same version."""
        version = bindir.split("/")[4]
        kind = part.partition("-")[0]
        pgxs = f"/usr/lib/postgresql/{version}/lib/pgxs/src/test/{kind}"
        source = f"{source_of(f'postgresql-{version}')}/src/test"
        copy_to(place, f"{source}/{kind}", *(
            ("specs", "expected", "isolation_schedule") if kind == "isolation"
            else ("sql", "expected", "data", "parallel_schedule", "resultmap")))
        if kind == "regress":
            headers = unpacked(f"postgresql-server-dev-{version}",
                               f"postgresql-{version}")
            subprocess.run(["gcc", "-O1", "-fPIC", "-shared", "-I",
                            f"{headers}/usr/include/postgresql/{version}/server", "-o",
                            f"{place}/regress.so", f"{source}/regress/regress.c"],
                           check=True)
            for name in ("autoinc", "refint"):
                shutil.copy(f"/usr/lib/postgresql/{version}/lib/{name}.so", place)
        os.mkdir(f"{place}/out")
        host = "127.0.0.1" if part.endswith("tcp") or kind == "isolation" else place
        runner = "pg_isolation_regress" if kind == "isolation" else "pg_regress"
        schedule = "isolation" if kind == "isolation" else "parallel"
        return [f"{pgxs}/{runner}", f"--bindir={bindir}", f"--dlpath={place}",
                f"--inputdir={place}", f"--outputdir={place}/out", f"--host={host}",
                f"--schedule={place}/{schedule}_schedule",
                "--max-concurrent-tests=20"]

    @staticmethod
    def read(said, place, results):
        """What failed says how in regression.diffs."""
        differences = {}
        if os.path.exists(f"{place}/out/regression.diffs"):
            with open(f"{place}/out/regression.diffs", encoding="utf-8",
                      errors="replace") as text:
                for piece in re.split(r"^diff ", text.read(), flags=re.M)[1:]:
                    name = os.path.basename(piece.partition("\n")[0])
                    differences[name.removesuffix(".out")] = piece[:3000]
        for name, what in re.findall(r"^(?:test|    ) +(\S+) +\.\.\. (\w+)", said, re.M):
            worst(results, name, "ok" if what == "ok" else "fail",
                  differences.get(name, what))


# Every built-in script by every protocol, and a pipeline, in several manners, over Unix
# sockets and TCP: what each said, behind a line that names it.
PGBENCH = r"""
    place=$1
    printf '%s\n' '\set a random(1, 100000)' '\startpipeline' \
        'select abalance from pgbench_accounts where aid = :a;' \
        'update pgbench_accounts set abalance = abalance + 1 where aid = :a;' \
        'update pgbench_accounts set abalance = abalance - 1 where aid = :a;' \
        'select repeat(:a::text, 200);' '\endpipeline' >pipeline.sql
    echo '=== load'
    pgbench -h "$place" -i -q -s 1 || exit 1
    run() {
        name=$1; shift
        echo "=== $name"
        timeout 120 pgbench -n "$@" && echo "=== ended well"
    }
    for host in "$place" 127.0.0.1; do
        case $host in /*) over=unix ;; *) over=tcp ;; esac
        for protocol in simple extended prepared; do
            for script in tpcb-like simple-update select-only; do
                what="$script $protocol $over"
                set -- -h "$host" -M $protocol -b $script
                run "$what, 8 clients" "$@" -c 8 -j 2 -t 50
                run "$what, 1 client" "$@" -t 100
                run "$what, reconnecting" "$@" -C -c 3 -t 10
                run "$what, with progress" "$@" -c 4 -t 100 --progress=1
            done
            [ $protocol = simple ] || run "pipeline $protocol $over" \
                -h "$host" -M $protocol -f pipeline.sql -c 5 -j 2 -t 50
        done
    done
    echo '=== sums'
    psql -h "$place" -X -A -t -c 'select sum(abalance) - (select sum(delta)
        from pgbench_history) from pgbench_accounts' | grep -x 0 &&
        echo '=== ended well'
"""


def read_pgbench(said, results):
    """Each ran all the transactions it was to, and none failed."""
    for piece in re.split(r"^=== (?!ended well)", said, flags=re.M)[1:]:
        name, _, text = piece.partition("\n")
        done = re.search(r"actually processed: (\d+)/(\d+)", text)
        good = "=== ended well" in text or name == "load"
        good = good and not (done and done[1] != done[2])
        good = good and not re.search(r"failed transactions: [1-9]|error", text)
        worst(results, name, "ok" if good else "fail", text[-2000:])

"""Runs benches by name; see README.md beside this file. Started by run.sh."""

import argparse
import datetime
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import lib
import report

NAMES = ["stall40", "memcached16", "socketserver11", "small_sends", "recv64",
         "mosquitto", "tls", "readers", "no_gain", "delay", "taken", "idle", "rests",
         "metrics_socket", "pool", "streaming", "gains"]


class Bench:
    """What a bench is told: how long it may take, and where its files go."""

    def __init__(self, args, tmp):
        self.quick, self.strace, self.tmp = args.quick, args.strace, tmp
        self.out = args.out or "bench-results"  # for a bench that draws

    def rounds(self, full):
        return min(3, full) if self.quick else full


def parse():
    p = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    p.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    p.add_argument("--quick", action="store_true", help="short runs: about 7 minutes")
    p.add_argument("--out", metavar="DIR", help="write results.json, tables "
                   "and plots here; without it streaming's go to ./bench-results")
    p.add_argument("--strace", action="store_true",
                   help="mosquitto: also compare the library's counters with strace's")
    p.add_argument("--keep", action="store_true", help="keep the servers' files")
    args = p.parse_args()
    unknown = [n for n in args.names if n not in NAMES]
    if unknown:
        p.error(f"no bench named {', '.join(unknown)}: there are {', '.join(NAMES)}")
    return args


def run_one(name, args):
    module = importlib.import_module(name)
    out = report.Report(name, module.ABOUT, lib.preloaded_is_real())
    tmp = tempfile.mkdtemp(prefix=f"weir-bench-{name}-")
    os.chmod(tmp, 0o755)  # servers change their user
    begin = time.monotonic()
    try:
        module.run(out, Bench(args, tmp))
    except lib.Missing as why:
        out.skip(name, why)
    except Exception as error:  # one bench that breaks must not hide the others
        lib.log(f"{name}: {error!r} (files kept in {tmp})")
        out.rows.append({"what": name, "native": "", "preloaded": "", "figure": "broke",
                         "goal": repr(error)[:100], "holds": False})
    else:
        if not args.keep:
            shutil.rmtree(tmp, ignore_errors=True)
    out.seconds = time.monotonic() - begin
    return out


def write(directory, document, reports):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "results.json"), "w", encoding="utf-8") as f:
        json.dump(document, f, indent=1)
        f.write("\n")
    for r in reports:
        if r.markdown:
            with open(os.path.join(directory, f"{r.name}.md"), "w",
                      encoding="utf-8") as f:
                f.write(r.markdown)


def main():
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers too
    machine = lib.machine()
    print("machine: {cpu}, {cores} cores, Linux {kernel} {arch}, {libc}".format(
        **machine))
    print(f"library: {lib.LIB}" if lib.preloaded_is_real() else
          "library: none (native against native, no goal is judged)", flush=True)
    reports = []
    for name in args.names or NAMES:
        lib.log(f"bench {name} ...")
        reports.append(run_one(name, args))
        print("\n" + (reports[-1].text()), flush=True)
        if reports[-1].markdown:
            print("\n" + reports[-1].markdown, flush=True)
    if args.out:
        write(args.out, {
            "schema": "weir.bench/1",
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "machine": machine,
            "library": lib.LIB,
            "quick": args.quick,
            "benches": {r.name: r.document() for r in reports},
        }, reports)
    failed = [f"{r.name}: {row['what']}" for r in reports for row in r.failed()]
    goals = sum(row["holds"] is not None for r in reports for row in r.rows)
    print(f"\n{goals} goals judged, {len(failed)} failed")
    for line in failed:
        print(f"  FAILS  {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""make install: what is where, and what pkg-config says of it."""
import os
import subprocess

import lib


def installed(tmp):
    """The directory that stands for / in a fresh installation of this build."""
    env = {k: v for k, v in lib.clean_environment().items()
           if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DESTDIR")}
    done = subprocess.run(["make", "install", f"DESTDIR={tmp}/root"], cwd=lib.BUILD, env=env,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return f"{tmp}/root"


def files_are_where_people_look(tmp):
    root = installed(tmp)
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            found.setdefault(os.path.basename(directory), set()).add(name)
    for directory, name in (("weir", "libweir.so"), ("bin", "weir"), ("pkgconfig", "weir.pc"),
                            ("man1", "weir.1"), ("man7", "weir-metrics.7"), ("man8", "libweir.8"),
                            ("completions", "weir"), ("site-functions", "_weir")):
        assert name in found.get(directory, ()), (directory, name, found)
    assert found["weir"] == {"libweir.so"}, found["weir"]


def variable(name):
    done = subprocess.run(
        ["pkg-config", f"--variable={name}", "weir"], capture_output=True, text=True,
        env=lib.clean_environment(PKG_CONFIG_PATH=lib.BUILD), timeout=lib.LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def pkg_config_names_what_is_preloaded(tmp):
    root = installed(tmp)
    assert os.path.exists(f"{root}{variable('libdir')}/pkgconfig/weir.pc")
    assert os.access(f"{root}{variable('bindir')}/weir", os.X_OK)
    with lib.Server(native=True, STREAM_METRICS_SOCKET=f"{tmp}/s",
                    LD_PRELOAD=root + variable("preload")) as server:
        server.turns(server.client())
        lib.within(lambda: os.path.exists(f"{tmp}/s"))


if __name__ == "__main__":
    lib.run([files_are_where_people_look, pkg_config_names_what_is_preloaded])

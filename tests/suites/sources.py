"""Debian's sources, whose tests the suites run against Debian's binaries.

They come from the machine's own mirrors, checked by apt, and are kept in
$XDG_CACHE_HOME/weir-suites, by default ~/.cache.  Nothing in /etc/apt is changed, and
no rights are needed.
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME")
                     or os.path.expanduser("~/.cache"), "weir-suites")
SECONDS = 300


def said_by(*command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=SECONDS, check=False, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


def source_of(package):
    """The unpacked source of the installed version of a package: a directory to copy
    from."""
    name, version = said_by(
        "dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", package).split()
    return cached(fetch_source, name, version)


def unpacked(package, like):
    """The files of a package, which is not installed, of the version of another."""
    version = said_by("dpkg-query", "-W", "-f", "${Version}", like)
    return cached(fetch_binary, package, version)


def cached(fetch, name, version):
    kept = os.path.join(CACHE, f"{name}_{version.replace(':', '%3a')}")
    if not os.path.isdir(kept):
        os.makedirs(CACHE, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            # Renamed when it is whole, so that what is there can be used.
            os.rename(fetch(name, version, scratch), kept)
    return kept


def fetch_binary(name, version, scratch):
    said_by("apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o",
            "Acquire::Retries=3", "download", f"{name}={version}", cwd=scratch)
    said_by("dpkg-deb", "-x", *glob.glob(f"{scratch}/*.deb"), f"{scratch}/files")
    return f"{scratch}/files"


def fetch_source(name, version, scratch):
    """apt-get source, with lists of its own.  A mirror may have lost the source of an
    update: that of another with the same upstream version has the same tests."""
    lines = said_by("apt-get", "indextargets", "--format",
                    "$(ORIGIN)|deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)",
                    "Created-By: Packages").split("\n")
    with open(f"{scratch}/sources.list", "w", encoding="utf-8") as out:
        out.writelines(line.partition("|")[2] + "\n" for line in lines
                       if line.startswith("Debian|"))
    for place in ("lists/partial", "cache/archives/partial", "source"):
        os.makedirs(f"{scratch}/{place}")
    apt = ["-q", "-o", f"Dir::Etc::SourceList={scratch}/sources.list",
           "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Acquire::Retries=3",
           "-o", f"Dir::State::Lists={scratch}/lists",
           "-o", f"Dir::Cache={scratch}/cache", "-o", "APT::Sandbox::User=root"]
    said_by("apt-get", *apt, "update")
    known = re.findall(r"^Version: (.*)$", said_by(
        "apt-cache", *apt, "showsrc", "--only-source", name), re.M)
    alike = [other for other in known if other != version and
             other.rpartition("-")[0] == version.rpartition("-")[0]]
    for other in (version, *alike):
        try:
            said_by("apt-get", *apt, "source", "--only-source", f"{name}={other}",
                    cwd=f"{scratch}/source")
            break
        except RuntimeError as failed:
            lost = failed
    else:
        raise lost
    # The one directory beside the archives.
    return next(item.path for item in os.scandir(f"{scratch}/source") if item.is_dir())


def copy_to(place, source, *names):
    """A private copy of some files and directories of a source."""
    for name in names:
        path = os.path.join(source, name)
        (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, f"{place}/{name}")
    return place


def edit(path, pattern, new):
    """Changes a copied file, all that fits the regular expression."""
    with open(path, "r+", encoding="utf-8") as file:
        text = re.sub(pattern, new, file.read())
        file.seek(0)
        file.write(text)
        file.truncate()

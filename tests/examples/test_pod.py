"""examples/kubernetes: the API's own models take the manifest, it keeps to the restricted profile, and podman
runs it as it is, with images made of this machine's files."""
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile

import yaml

import common
import lib

PLACE = os.path.join(common.EXAMPLES, "kubernetes")
# What a Debian image without packages has, of what the command needs.
BASE_PACKAGES = {"libc6", "libtinfo6"}


class Strict(yaml.SafeLoader):
    """Refuses a key that comes twice, as the API's server does."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), (keys, node.start_mark)
        return super().construct_mapping(node, deep)


def text_of(name):
    with open(os.path.join(PLACE, name), encoding="utf-8") as f:
        return f.read()


def manifest():
    return yaml.load(text_of("memcached.yaml"), Strict)


def pod_of(document):
    pod = document["spec"]["template"]["spec"]
    return pod, {c["name"]: c for c in pod["initContainers"] + pod["containers"]}


def final_stage():
    """(instruction, argument) of the Containerfile's last stage, and the names of those before."""
    text = re.sub(r"\\\n", " ", text_of("Containerfile"))
    lines = [line.split(None, 1) for line in text.splitlines()
             if line and not line.startswith("#")]
    starts = [nr for nr, (word, _) in enumerate(lines) if word == "FROM"]
    names = [lines[nr][1].split(" AS ")[1] for nr in starts[:-1]]
    return lines[starts[-1]:], names


def is_a(value, kind, where):
    """The value is what the Kubernetes API calls so, by the models of its Python client."""
    from kubernetes import client
    of = re.fullmatch(r"(?:list\[|dict\(str, )(.*)[])]", kind)
    if of:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            is_a(item, of.group(1), f"{where}.{key}")
        assert isinstance(value, dict if kind.startswith("dict") else list), where
    elif kind == "object":  # a number or a name
        assert isinstance(value, (int, str)), where
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{where} is no {kind}: {value!r}"
    else:
        model = getattr(client, kind)
        fields = {name: attribute for attribute, name in model.attribute_map.items()}
        for key, item in value.items():
            assert key in fields, f"{where} has no {key}"
            is_a(item, model.openapi_types[fields[key]], f"{where}.{key}")
        model(**{fields[key]: item for key, item in value.items()})  # what is required


def the_api_takes_it(_):
    try:
        import kubernetes  # noqa: F401 pylint: disable=unused-import
    except ImportError as why:
        raise lib.Skip("python3-kubernetes is not installed") from why
    is_a(manifest(), "V1Deployment", "deployment")
    try:
        is_a({"containers": [{"name": "x", "image": "y", "voluneMounts": []}]}, "V1PodSpec", "pod")
    except AssertionError as wrong:
        assert "voluneMounts" in str(wrong)
    else:
        raise AssertionError("a misspelt field goes through")


def it_is_restricted(_):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, Restricted."""
    pod, containers = pod_of(manifest())
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for name, container in containers.items():
        context = container["securityContext"]
        assert context["runAsUser"] > 0, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert not any("hostPort" in port for port in container.get("ports", [])), name


def its_names_are_weirs(_):
    """Variables, places and mounts are those that the library and the command know."""
    pod, containers = pod_of(manifest())
    init, server, export = containers.values()
    with open(os.path.join(common.EXAMPLES, "../README.md"), encoding="utf-8") as f:
        known = set(re.findall(r"^\| `(STREAM_\w+)`", f.read(), re.M))
    variables = {v["name"]: v["value"] for v in server["env"]}
    assert set(variables) - {"LD_PRELOAD"} <= known, variables
    volumes = {volume["name"] for volume in pod["volumes"]}
    where = {name: {m["name"]: m["mountPath"] for m in c["volumeMounts"]}
             for name, c in containers.items()}
    assert set().union(*where.values()) == volumes
    shared = where[server["name"]]
    assert shared["weir-sockets"] == where[export["name"]]["weir-sockets"] == "/run/weir"
    assert init["command"][-1] == where[init["name"]]["weir-library"] + "/"
    assert os.path.dirname(variables["STREAM_METRICS_SOCKET"]) == shared["weir-sockets"]
    assert variables["LD_PRELOAD"] == os.path.join(
        shared["weir-library"], os.path.basename(init["command"][-2]))
    assert {c["securityContext"]["runAsUser"] for c in (server, export)} == {11211, 65534}


def the_containerfile_installs_what_the_command_needs(_):
    stage, names = final_stage()
    copied = [words.split() for word, words in stage if word == "COPY"]
    assert [words[0] for words in copied] == [f"--from={names[0]}"]
    [run] = [words for word, words in stage if word == "RUN"]
    installed = set(re.search(r"--no-install-recommends ([^&]*)", run).group(1).split())
    needed = set()
    for library in re.findall(r"NEEDED.*\[(.*)\]", common.done("readelf", "-d", lib.WEIR)):
        owner = subprocess.run(["dpkg", "-S", f"*/{library}"], check=True,
                               capture_output=True, text=True).stdout
        needed.add(owner.split(":")[0])
    assert needed - BASE_PACKAGES <= installed, needed - BASE_PACKAGES - installed


def prometheus_finds_the_exporter(tmp):
    """Debian's Prometheus has no Kubernetes in it: the pods come from a list."""
    common.need("promtool")
    job = yaml.load(text_of("scrape.yml"), Strict)
    _, containers = pod_of(manifest())
    del job["scrape_configs"][0]["kubernetes_sd_configs"]
    job["scrape_configs"][0]["static_configs"] = [
        {"targets": [f"10.0.0.1:{port['containerPort']}"],
         "labels": {"__meta_kubernetes_namespace": "shop",
                    "__meta_kubernetes_pod_name": "memcached-1",
                    "__meta_kubernetes_pod_label_app": "memcached",
                    "__meta_kubernetes_pod_container_name": name,
                    "__meta_kubernetes_pod_container_port_name": port["name"]}}
        for name, container in containers.items() for port in container.get("ports", [])]
    with open(f"{tmp}/p.yml", "w", encoding="utf-8") as f:
        json.dump(job, f)
    common.done("promtool", "check", "config", f"{tmp}/p.yml")
    assert [(one["__address__"], one["instance"], one["app"])
            for one in common.discovered(f"{tmp}/p.yml")] == [
                ("10.0.0.1:9464", "shop/memcached-1", "memcached")]


# ---- It runs ----

class Podman:
    """Podman with storage of its own, which goes with it."""

    def __init__(self, tmp):
        self.place = tmp
        with open(f"{tmp}/containers.conf", "w", encoding="utf-8") as f:
            # The limits of the machine it runs on may be lower than podman's own. And of the two
            # runtimes, crun refuses machines with both kinds of control groups.
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            f.write(f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]\n'
                    '[engine]\nruntime = "runc"\n')
        self.env = lib.clean_environment(CONTAINERS_CONF=f"{tmp}/containers.conf", TMPDIR=tmp)

    def command(self, *words):
        return ["podman", f"--root={self.place}/root", f"--runroot={self.place}/run",
                f"--tmpdir={self.place}/tmp", "--storage-driver=vfs",
                "--cgroup-manager=cgroupfs", "--events-backend=file", *words]

    def do(self, *words, **how):
        return common.done(*self.command(*words), env=self.env, **how)

    def image(self, name, files, changes=()):
        """An image of programs and the libraries they need, {path in it: path here}."""
        top = tempfile.mkdtemp(dir=self.place)
        os.chmod(top, 0o755)
        for path, here in files.items():
            found = re.findall(r"(/\S+) \(0x", common.done("ldd", here))
            for where, source in [(path, here), *((library, library) for library in found)]:
                os.makedirs(os.path.dirname(top + where), exist_ok=True)
                shutil.copy(source, top + where)
        for empty in ("tmp", "run", "proc", "sys", "dev", "etc"):
            os.makedirs(f"{top}/{empty}", exist_ok=True)
        common.done("tar", "-C", top, "-cf", f"{top}.tar", ".")
        path = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
        try:
            self.do("import", *(f"--change={change}" for change in (path, *changes)),
                    f"{top}.tar", name)
        except AssertionError as why:  # in a chroot, say, whose root is no mount
            raise lib.Skip("podman makes no image here: "
                           + str(why).strip().split("\n")[-1]) from why

    def volume(self, name, group):
        """An emptyDir as the kubelet makes it for a pod with a fsGroup, which podman does not know."""
        self.do("volume", "create", name)
        place = self.do("volume", "inspect", "--format={{.Mountpoint}}", name).strip()
        os.chown(place, 0, group)
        os.chmod(place, 0o2777)
        return place

    def play(self, path):
        """Plays a manifest; the pids of the containers by their names."""
        self.do("play", "kube", "--network=none", path)
        listed = json.loads(self.do("ps", "--all", "--format=json"))
        return {one["Names"][0]: one["Pid"] for one in listed}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(AssertionError):
            if kind is AssertionError:
                print(self.do("pod", "logs", "--names", "--latest"))
            self.do("pod", "rm", "--all", "--force", "--time=0")
        common.done("sh", "-c", 'grep -o "$0/[^ ]*" /proc/mounts | xargs -r umount -l', self.place)


def make_images(podman, server, export):
    """By the names in the manifest, of what the Containerfile copies and says at its end."""
    stage, _ = final_stage()
    podman.image(export["image"], {"/usr/local/bin/weir": lib.WEIR,
                                   "/usr/local/lib/weir/libweir.so": lib.LIB,
                                   "/bin/cp": "/bin/cp"},
                 [f"{word} {words}" for word, words in stage
                  if word in ("USER", "ENTRYPOINT", "CMD")])
    podman.image(server["image"], {"/usr/bin/memcached": shutil.which("memcached")})
    works = subprocess.run(podman.command("run", "--rm", "--network=none", server["image"],
                                          "/usr/bin/memcached", "-V"),
                           env=podman.env, capture_output=True, text=True, timeout=60, check=False)
    if works.returncode:
        raise lib.Skip("podman runs nothing here: " + works.stderr.strip().split("\n")[-1])


def for_podman(document, path):
    """Writes the manifest, but for what podman does otherwise than Kubernetes."""
    # It removes an init container before it knows that it ended, or runs it again and again.
    document["metadata"]["annotations"] = {"io.podman.annotations.init.container.type": "always"}
    pod, containers = pod_of(document)
    pod["restartPolicy"] = "Never"
    for container in containers.values():
        container.pop("ports", None)  # it would publish them
    with open(path, "w", encoding="utf-8") as f:
        json.dump(document, f)


def podman_runs_it(tmp):
    lib.need_root()
    common.need("podman", "runc", "memcached", "nsenter")
    document = manifest()
    pod, containers = pod_of(document)
    init, server, export = containers.values()
    group = pod["securityContext"]["fsGroup"]
    with Podman(tmp) as podman:
        make_images(podman, server, export)
        places = {volume["name"]: podman.volume(volume["name"], group)
                  for volume in pod["volumes"]}
        for_podman(document, f"{tmp}/pod.yaml")
        pids = podman.play(f"{tmp}/pod.yaml")
        assert os.listdir(places["weir-library"]) == ["libweir.so"]
        pid = {}
        for container in (server, export):
            name = container["name"]
            pid[name] = next(one for whole, one in pids.items() if whole.endswith("-" + name))
            assert pid[name], f"{name} has ended: {pids}"
            assert users(pid[name]) == (container["securityContext"]["runAsUser"], group)
            with open(f"/proc/{pid[name]}/mounts", encoding="utf-8") as f:
                root = [line.split()[3] for line in f if line.split()[1] == "/"]
            assert root and root[-1].split(",")[0] == "ro", root
        inside = ["nsenter", "-n", "-t", str(pid[server["name"]]), lib.PYTHON, "-c", CLIENT]
        said = common.done(*inside)
        assert OPENED + " 1" in said, said
        socket = os.stat(os.path.join(places["weir-sockets"], "memcached.1.sock"))
        assert (socket.st_uid, socket.st_gid, socket.st_mode & 0o777) == (11211, group, 0o660)
        # Again: the library is replaced, the server goes on with the one it has.
        podman.do("start", "--attach", next(n for n in pids if n.endswith(init["name"])))
        assert "STORED" in common.done(*inside)


def users(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        status = dict(line.split(":", 1) for line in f)
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", status
    assert int(status["CapEff"], 16) == 0 == int(status["CapBnd"], 16), status
    return int(status["Uid"].split()[1]), int(status["Gid"].split()[1])


OPENED = 'weir_streams_opened_total{program="memcached",role="accepted"}'
# In the pod's network: 16 requests in flight to memcached, then what the exporter says.
CLIENT = f"OPENED = {OPENED!r}" + """
import http.client, socket, time
def within(what):
    end = time.monotonic() + 20
    while True:
        try:
            return what()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
with within(lambda: socket.create_connection(("127.0.0.1", 11211), 20)) as s:
    s.sendall(b"set k 0 0 1\\r\\nv\\r\\n")
    print(s.recv(100))
    got = b""
    s.sendall(b"get k\\r\\n" * 16)
    while got.count(b"END") < 16:
        got += s.recv(10000)
    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", 9464, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        if OPENED + " 0" in text or OPENED not in text:
            raise OSError("a snapshot from before")
        return text
    print(within(ask))
"""


if __name__ == "__main__":
    lib.run([the_api_takes_it, it_is_restricted, its_names_are_weirs,
             the_containerfile_installs_what_the_command_needs, prometheus_finds_the_exporter,
             podman_runs_it])

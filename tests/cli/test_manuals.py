"""The manuals say what the code does, and the other way round: verbs, options, columns, variables,
lines on stderr, metrics, fields of the documents."""
import glob
import http.client
import json
import os
import re
import socket

import lib
from test_export import Exporter

SOURCE = os.environ.get("WEIR_SOURCE") or os.path.join(lib.HERE, "../..")


# ---- manuals ----


class Manual:
    """A page's source. Sections and subsections are lists of (head, text) of their .It, by title."""

    def __init__(self, name):
        self.sections = {}
        self.lines = {}
        with open(os.path.join(lib.BUILD, "man", name), encoding="utf-8") as f:
            for line in f.read().splitlines():
                if line.startswith((".Sh ", ".Ss ")):
                    title = line[4:]
                    assert title not in self.lines, f"{name} has two sections {title}"
                    self.lines[title], self.sections[title] = [], []
                elif self.lines:
                    self.lines[title].append(line)
                    if line.startswith(".It "):
                        self.sections[title].append([line[4:], ""])
                    elif self.sections[title]:
                        self.sections[title][-1][1] += f"{line}\n"

    def words(self, title, macro):
        """What stands behind `macro` in the items of a section, its commas apart."""
        return [word for head, _ in self.sections[title] if head.startswith(f"{macro} ")
                for word in head[len(macro):].replace(" , ", " ").split()]


def agree(what, code, manual):
    code, manual = set(code), set(manual)
    assert code == manual, f"{what}: not in the manual {sorted(code - manual)}, " \
                           f"only there {sorted(manual - code)}"


# ---- the command ----


def helped(verb):
    return lib.weir("help", *verb)[1]


def options(lines):
    """{option: the name of its value}, from the lines of a help or the items of a manual."""
    found = {}
    for line in lines:
        words = line.replace(",", " ").split()
        value = words.pop() if words[-1][0] != "-" else ""
        found.update((w, value) for w in words)
    return found


def statuses(text):
    """The numbers behind "Exit status:"; 0 goes without saying."""
    return {int(n) for n in re.findall(r"\b\d+\b", text.split("Exit status:")[-1])} - {0}


def verbs_options_and_exit_statuses(_):
    manual = Manual("weir.1")
    verbs = re.findall("^  ([a-z]+)", helped([]), re.M)
    agree("verbs", verbs, [t[5:] for t in manual.sections if t.startswith("weir ")])
    for verb in verbs:
        code = re.findall(r"^  (-\S+(?: \S+)*)", helped([verb]), re.M)
        title = f"weir {verb}"
        page = [re.sub(r"\b(Fl|Ar) ", lambda m: "-" if m[1] == "Fl" else "", head)
                for head, _ in manual.sections[title] if head.startswith("Fl ")]
        agree(f"options of {verb}", options(code).items(), options(page).items())
        text = "\n".join(manual.lines[title]).replace("125 to 127", "125, 126, 127")
        agree(f"exit statuses of {verb}",
              statuses(helped([verb]).replace("125 to 127", "125, 126, 127")
                       .rsplit("The manual", 1)[0]), statuses(text))


def columns_of(manual, verb):
    """The words of the lists that follow a line "Columns..."."""
    found, is_list = set(), False
    for line in manual.lines[f"weir {verb}"]:
        if line.startswith("Columns"):
            is_list = True
        elif line == ".El":
            is_list = False
        elif is_list and line.startswith(".It Cm "):
            found.update(line.split()[2:])
    return found


def columns(tmp):
    manual = Manual("weir.1")
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s") as server:
        server.turns(server.client())
        lib.within(lambda: os.path.exists(f"{tmp}/s"))
        for verb in ("stat", "streams", "top"):
            heads = [line.split() for line in lib.weir(verb, f"{tmp}/s")[1].splitlines()
                     if re.match(" *(PID|STRM|PROGRAM) ", line)]
            agree(f"columns of {verb}", sum(heads, []), columns_of(manual, verb))
        agree("columns of ps", lib.weir("ps")[1].splitlines()[0].split(),
              columns_of(manual, "ps"))


# ---- the library ----


def variables():
    """Name and default, as src/base/config.c has them."""
    with open(os.path.join(SOURCE, "src/base/config.c"), encoding="utf-8") as f:
        return dict(re.findall(r'\{ "(STREAM_\w+)", "([^"]*)"', f.read()))


def variables_and_their_defaults(_):
    page = {head.split()[1]: text for head, text in Manual("libweir.8").sections["ENVIRONMENT"]
            if head.startswith("Ev STREAM_")}
    agree("variables", variables(), page)
    for name, default in variables().items():
        if default:
            assert f"Default: {default}.\n" in page[name], name
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as f:
        table = dict(re.findall(r"^\| `(STREAM_\w+)` \| `?([^|`]*?)`? \|", f.read(), re.M))
    agree("README's variables", table, set(variables()) - {"STREAM_TEST"})
    for name, default in table.items():
        assert variables()[name] in ("", default), name


def lines_on_stderr(_):
    formats = set()
    for path in glob.glob(os.path.join(SOURCE, "src/*/*.c")):
        with open(path, encoding="utf-8") as f:
            formats.update("".join(re.findall('"([^"]*)"', literals)) for literals in re.findall(
                r'log_line\(\s*LOG_\w+,\s*((?:"[^"]*"\s*)+)', f.read()))
    assert len(formats) > 4, formats
    page = [head[3:] for head, _ in Manual("libweir.8").sections["DIAGNOSTICS"]]
    # A word in capitals stands for what is put in.
    shown = {"weir: " + re.sub("%[a-z]", "*", f) for f in formats}
    agree("lines on stderr", shown,
          [re.sub("(?<![A-Z_])(VARIABLE|VALUE|KIND|DEFAULT|PATH|N)(?![A-Z_])", "*", line)
           for line in page if line.startswith("weir: ")])


# ---- the documents ----


def get(path, target):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(lib.LIMIT)
    connection.sock.connect(path)
    connection.request("GET", target)
    answer = connection.getresponse()
    assert answer.status == 200, (target, answer.status)
    return answer.read().decode()


def documents(tmp, *targets):
    """What a real server says of itself, with a stream and a process that has ended."""
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s") as server:
        server.turns(server.client())
        lib.within(lambda: os.path.exists(f"{tmp}/s"))
        return [get(f"{tmp}/s", target) for target in targets]


def exporters_own(tmp):
    """What weir export says of itself, beside what families do."""
    assert lib.weir("export", "--textfile", f"{tmp}/own.prom")[0] == 0
    with open(f"{tmp}/own.prom", encoding="utf-8") as f:
        return "".join(line for line in f if re.match("(# TYPE )?weir_export_", line))


def families_labels_and_their_values(tmp):
    manual = Manual("weir-metrics.7")
    page = {}
    for title, items in manual.sections.items():
        for head, text in items:
            name = re.match(r"Ic (\w+)(?:\{([\w,]+)\})?$", head)
            if name and text.split()[0].strip(",.") in ("Counter", "Gauge", "Histogram"):
                page[name[1]] = (text.split()[0].strip(",.").lower(), name[2] or "")
    [text] = documents(tmp, "/metrics")
    text += exporters_own(tmp)
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)", text, re.M))
    labels, values = {}, {}
    for name, inside in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.M):
        name = name if name in types else re.sub("_(bucket|sum|count)$", "", name)
        pairs = re.findall('([a-z]+)="([^"]*)"', inside)
        labels.setdefault(name, ",".join(k for k, _ in pairs if k != "le"))
        for label, value in pairs:
            values.setdefault((label, name), set()).add(value)
    agree("families", [(n, t, labels[n]) for n, t in types.items()],
          [(n, *about) for n, about in page.items()])
    used = set()
    for (label, name), shown in values.items():
        titles = [t for t in (f"{label} of {name}", label, f"{label} of the sizes")
                  if t in manual.sections]
        if label == "version":
            continue
        assert titles, f"{name} has a label {label}, which the manual does not have"
        used.add(titles[0])
        agree(f"{label} of {name}", shown, manual.words(titles[0], "Cm"))
    begin = list(manual.sections).index("LABELS") + 1
    end = list(manual.sections).index("FIELDS OF /metrics.json")
    agree("labels", used, [*list(manual.sections)[begin:end], "state of weir_export_families"])


def fields(value, name=""):
    """The names of all fields below a value, as a.b and a[].b."""
    if isinstance(value, list):
        return set().union(*(fields(v, f"{name}[]") for v in value)) if value else {name}
    if isinstance(value, dict) and value:
        return set().union(*(fields(v, f"{name}.{k}".lstrip(".")) for k, v in value.items()))
    return {name}


def compare(document, manual, title):
    """What the page calls one field may be an object, with what it says of that."""
    page = set(manual.words(title, "Ic"))
    shown = {next((p for p in page if field == p or field.startswith((p + ".", p + "["))), field)
             for field in fields(document)}
    agree(title, shown, page)


def fields_of_the_documents(tmp):
    manual = Manual("weir-metrics.7")
    paths = [t for t in get_paths(manual) if t not in ("/", "/metrics")]
    for path, text in zip(paths, documents(tmp, *paths)):
        document = json.loads(text)
        compare(document, manual, f"FIELDS OF {path}")
        if path == "/metrics.json":
            compare(document["totals"]["request"], manual, "FIELDS OF A DIRECTION")
            agree("config", document["config"], set(variables()) - {"STREAM_TEST"})
        if path == "/streams":
            compare(document["streams"][0]["response"], manual, "FIELDS OF A DIRECTION")


def fields_of_the_exporters(tmp):
    manual = Manual("weir-metrics.7")
    with lib.Server(STREAM_METRICS_SOCKET=f"{tmp}/s") as server:
        server.turns(server.client())
        lib.within(lambda: os.path.exists(f"{tmp}/s"))
        with Exporter() as exporter:
            # Who does not answer in time, as on a busy machine, is none until it does.
            document = lib.within(lambda: [d for d in [exporter.json("/families")] if any(
                f["state"] == "live" for f in d["families"])])[0]
            document["families"] = [f for f in document["families"] if f["state"] == "live"]
            compare(document, manual, "Fields of /families")
            for path in Manual("weir.1").words("weir export", "Pa"):
                assert exporter.get(path)[0] == 200, path


def get_paths(manual):
    return manual.words("THE SOCKET", "Pa")


def paths(tmp):
    [text] = documents(tmp, "/")
    agree("paths", text.split(), get_paths(Manual("weir-metrics.7")))


if __name__ == "__main__":
    lib.run([verbs_options_and_exit_statuses, columns, variables_and_their_defaults,
             lines_on_stderr, families_labels_and_their_values, fields_of_the_documents,
             fields_of_the_exporters, paths])

"""Tab completion of weir, in bash and in zsh, as both shells really do it."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import lib

SOURCE = os.environ.get("WEIR_SOURCE") or os.path.join(lib.HERE, "../..")
BASH_FILE = os.path.join(SOURCE, "completion/bash/weir")
ZSH_DIRECTORY = os.path.join(SOURCE, "completion/zsh")
BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"


def split(line):
    """As bash makes words of a line: = stands alone."""
    return [w for word in line.split(" ") for w in re.split("(=)", word) if w or not word]


class Bash:
    """Calls the completion function with what bash sets for it. Whatever it prints on stderr
    would land in the user's command line."""

    def __init__(self, tmp, env, setup=""):
        self.tmp, self.env, self.setup = tmp, env, setup

    def complete(self, line):
        code = (f'{self.setup}\nsource "$0"\nCOMP_LINE=$1 COMP_POINT=${{#1}}\nshift\n'
                'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
                '_weir "$1" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"\n'
                'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(
            ["bash", "--norc", "-c", code, BASH_FILE, line, *split(line)], env=self.env,
            cwd=self.tmp, capture_output=True, text=True, timeout=lib.LIMIT, check=False)
        assert not done.stderr, done.stderr
        return {w for w in done.stdout.splitlines() if w}

    def end(self):
        pass


ZSHRC = r"""
setopt extended_glob no_beep
fpath=("$COMPLETION" $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
	local -a hits
	if [[ " ${(j: :)@[1,(i)(-|--)]}" != *\ -[a-zA-Z]#[OAD]* ]]; then
		builtin compadd -A hits "$@"
		print -lr -- $hits >>"$HITS"
	fi
	builtin compadd "$@"
}
finished() { print -r -- END >>"$HITS"; zle kill-whole-line }
zle -N finished
bindkey '^I' complete-word '^G' finished
finished_starting() { print -r -- END >>"$HITS" }
zle -N zle-line-init finished_starting
"""


class Zsh:
    """An interactive zsh on a terminal of its own: the Tab key is pressed, and what compadd is
    given for it is noted."""

    def __init__(self, tmp, env, setup=""):
        self.hits = os.path.join(tmp, "hits")
        with open(os.path.join(tmp, ".zshrc"), "w", encoding="utf-8") as f:
            f.write(ZSHRC + setup)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(tmp)
            os.execvpe("zsh", ["zsh", "-d", "-i"], dict(
                env, ZDOTDIR=tmp, HITS=self.hits, COMPLETION=ZSH_DIRECTORY, TERM="vt100"))
        self.noted()

    def noted(self):
        """What was noted, once it is all there."""
        end = time.monotonic() + lib.LIMIT
        while True:
            assert time.monotonic() < end, "zsh does not answer"
            if select.select([self.terminal], [], [], 0.01)[0]:
                os.read(self.terminal, 65536)
            if os.path.exists(self.hits):
                with open(self.hits, encoding="utf-8") as f:
                    got = f.read()
                if got.endswith("END\n"):
                    os.unlink(self.hits)
                    return set(got.split("\n")) - {"END", ""}

    def complete(self, line):
        os.write(self.terminal, f"{line}\t\x07".encode())
        return self.noted()

    def end(self):
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def shells(tmp, with_bash_completion=False, **setup):
    """Both, with a `weir` in PATH; a script of that name in `tmp`/bin stands in for it."""
    directory = os.path.join(tmp, "bin")
    os.makedirs(directory, exist_ok=True)
    if not os.path.exists(f"{directory}/weir"):
        os.symlink(lib.WEIR, f"{directory}/weir")
    env = lib.clean_environment(PATH=f"{directory}:/usr/bin:/bin", XDG_RUNTIME_DIR=tmp)
    bash = setup.get("bash", "")
    if with_bash_completion:
        if not os.path.exists(BASH_COMPLETION):
            raise lib.Skip("no bash-completion here")
        bash = f"source {BASH_COMPLETION}\n{bash}"
    yield Bash(tmp, env, bash)
    if not shutil.which("zsh"):
        raise lib.Skip("no zsh here; bash passed")
    yield Zsh(tmp, env, setup.get("zsh", ""))


def each(tmp, test, **how):
    for shell in shells(tmp, **how):
        try:
            test(shell)
        except AssertionError as error:
            raise AssertionError(f"{type(shell).__name__}: {error}") from error
        finally:
            shell.end()


def same(shell, line, wanted):
    got = shell.complete(line)
    assert got == set(wanted), (line, got, wanted)


def helped(*args):
    """The lines of `weir help ...` that begin with two spaces and a word."""
    status, out, _ = lib.weir("help", *args)
    assert status == 0
    return re.findall(r"^  (\S.*)", out, re.M)


def verbs():
    return [line.split()[0] for line in helped()]


def options(verb):
    """Without -h and --help, which all have: {option: the name of its value or None}."""
    found = {}
    for line in helped(verb):
        words = re.split("   *", line)[0].replace(",", "").split()
        value = words.pop() if words[0][0] == "-" and words[-1][0] != "-" else None
        found.update((w, value) for w in words if w[0] == "-")
    return found


# ---- the tests ----


def verbs_and_their_options(tmp):
    def test(shell):
        same(shell, "weir ", verbs())
        same(shell, "weir st", [v for v in verbs() if v.startswith("st")])
        same(shell, "weir nosuch", [])
        same(shell, "weir help ", verbs())
        for verb in verbs():
            wanted = {*options(verb), "-h", "--help"}
            # zsh shows a value's = with the option, and -j and --json as one.
            assert {w.rstrip("=") for w in shell.complete(f"weir {verb} -")} == wanted, verb
            assert {w.rstrip("=") for w in shell.complete(f"weir {verb} --")} == {
                w for w in wanted if w.startswith("--")}, verb
    each(tmp, test)


def values(tmp):
    """Every value that is offered is one that the command takes, by the option's name."""
    accepted = {"--sort": ["backpressure", "bytes", "blocked", "age"],
                "--state": ["open", "closed", "all"]}
    for option, words in accepted.items():
        for word in words:
            assert lib.weir("streams", option, word)[0] in (0, 3), (option, word)
        assert lib.weir("streams", option, "nosuch")[0] == 2, option

    def test(shell):
        for option, words in accepted.items():
            same(shell, f"weir streams {option} ", words)
            same(shell, f"weir streams -j {option} {words[0][:2]}", [words[0]])
            got = shell.complete(f"weir streams {option}={words[0][:2]}")
            assert {w.split("=")[-1] for w in got} == {words[0]}, got
        same(shell, "weir streams --limit ", [])
        assert "place.sock" in shell.complete("weir run --socket pl")
    with open(f"{tmp}/place.sock", "w", encoding="utf-8"):
        each(tmp, test)


def running_servers(tmp):
    with lib.Server(XDG_RUNTIME_DIR=tmp) as server:
        server.turns(server.client())
        pid = str(server.pid)

        def test(shell):
            # A busy machine may not say within the second that the shell waits.
            for line, wanted in (("streams ", {"python3", pid}), ("stat ", {"python3", pid}),
                                 ("top ", {"python3", pid}), ("top -j py", {"python3"}),
                                 (f"check {pid[:-1]}", {pid})):
                lib.within(lambda: wanted <= shell.complete(f"weir {line}"))
            same(shell, "weir top python3 ", [])
            same(shell, "weir ps ", [])
        each(tmp, test)


def hostile_names_are_not_offered(tmp):
    evil = os.path.join(tmp, "$(touch pwned);`touch pwned`")
    os.symlink(lib.PYTHON, evil)
    with lib.Server(XDG_RUNTIME_DIR=tmp, python=evil) as server:
        server.turns(server.client())
        lib.within(lambda: f"{server.pid}" in lib.weir("ps")[1])

        def test(shell):
            got = shell.complete("weir streams ")
            assert not [w for w in got if re.search("[^A-Za-z0-9_.+-]", w)], got
        each(tmp, test)
    assert not os.path.exists(f"{tmp}/pwned")


def commands_and_their_own_completion(tmp):
    os.makedirs(f"{tmp}/bin")
    with open(f"{tmp}/bin/weirdest", "w", encoding="utf-8") as f:
        os.fchmod(f.fileno(), 0o755)

    def plain(shell):
        for line in ("run weird", "run --no-pool weird", "run --delay 100 -- weird",
                     "run --delay=100 weird", "check weird", "tune --load x -- weird",
                     "tune --load weird"):
            same(shell, f"weir {line}", ["weirdest"])

    def its_own(shell):
        for line in ("run weirdest --so", "run --delay 100 weirdest x --so",
                     "run -- weirdest --so", "check weirdest --so",
                     "tune --load x -- weirdest --so"):
            same(shell, f"weir {line}", ["--some-option"])
    each(tmp, plain)
    each(tmp, its_own, with_bash_completion=True,
         bash="complete -W '--some-option' weirdest",
         zsh="_weirdest() { compadd -- --some-option }; compdef _weirdest weirdest")


def quick_and_silent(tmp):
    """Where weir hangs, complains or is not there, so is the shell."""
    os.makedirs(f"{tmp}/bin")

    def stand_in(code):
        with open(f"{tmp}/bin/new", "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\n{code}\n")
            os.fchmod(f.fileno(), 0o755)
        os.rename(f"{tmp}/bin/new", f"{tmp}/bin/weir")

    def test(shell):
        begin = time.monotonic()
        same(shell, "weir streams ", [])
        assert time.monotonic() - begin < 5
    stand_in(f'[ "$1" != ps ] || exec sleep 60; exec "{lib.WEIR}" "$@"')
    each(tmp, test)
    stand_in('echo "something is wrong" >&2; exit 1')
    each(tmp, test)
    stand_in("kill -9 $$")
    each(tmp, test)


if __name__ == "__main__":
    lib.run([verbs_and_their_options, values, running_servers, hostile_names_are_not_offered,
             commands_and_their_own_completion, quick_and_silent])

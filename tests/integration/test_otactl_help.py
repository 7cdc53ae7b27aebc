# SPDX-License-Identifier: BSD-3-Clause
"""What is made from otactl's tables: completion in a real bash, and the man pages."""
import json
import os
import pty
import re
import select
import subprocess

import pytest

from harness import BUILD, OTACTL, OTASIM, TIMEOUT

pytestmark = pytest.mark.slow_asan  # no plugin here

COMPLETION = BUILD / "completions" / "otactl"

# Calls the completion as readline does, and prints what it offers.
ASK = """
. "$1"; shift
COMP_WORDS=(otactl "$@"); COMP_CWORD=$#
complete -p otactl >/dev/null || exit 9
_otactl otactl && printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(line, folder=None):
    """What is offered at the line's end."""
    words = re.findall(r"[=:]+|[^\s=:]+", line) + ([""] if line[-1:] in (" ", "=", "") else [])
    run = subprocess.run(
        ["bash", "--norc", "-c", ASK, "ask", COMPLETION, *words], cwd=folder, timeout=TIMEOUT,
        text=True, capture_output=True, check=True,
    )
    assert not run.stderr, run.stderr
    return [word for word in run.stdout.split("\n") if word]


def verbs():
    run = subprocess.run([OTACTL, "--list-commands", "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def test_completes_every_command_word_by_word(tmp_path):
    firsts = {verb["words"].split()[0] for verb in verbs()}
    assert set(complete("")) == firsts | {"help"}
    for first in firsts:
        seconds = {v["words"].split()[1] for v in verbs() if v["words"].startswith(first + " ")}
        assert set(complete(first + " ", tmp_path)) == seconds, first


def test_completes_every_option_of_every_command():
    general = set(complete("--"))
    assert {"--host", "--output", "--help"} <= general and "--list-commands" not in general
    for verb in verbs():
        own = {f"--{p['option']}" for p in verb["params"] if not p["required"]}
        offered = set(complete(verb["words"] + " --"))
        assert own <= offered and general <= offered, verb["words"]
        extra = offered - own - general
        assert extra <= {"--rate", "--threshold", "--stage", "--offline"}, verb["words"]


@pytest.mark.parametrize("line, offered", [
    ("pro", ["product"]),
    ("product cr", ["create"]),
    ("help product cr", ["create"]),
    ("-h broker.example -u admin dev", ["device"]),
    ("--output json product l", ["list"]),
    ("--output=json product l", ["list"]),
    ("-L mqtt://u:p@h:1883 product l", ["list"]),
    ("--output ", ["csv", "json", "table"]),
    ("--output=c", ["csv"]),
    ("product list --output=j", ["json"]),
    ("task list --status fa", ["failed"]),
    ("batch list --state pa", ["paused"]),
    ("batch create p 1 --mode ", ["continuous", "snapshot"]),
    ("batch cancel 7 --running=", ["cancel", "finish"]),
    ("device list p --tag ", []),
    ("product create ", []),
    ("device update p d --no-h", ["--no-hold"]),
    ("device list p --off", ["--offline"]),
    ("upgrade p d 1 --wa", ["--watch"]),
    ("nonsense ", []),
])
def test_completes(line, offered):
    assert sorted(complete(line)) == offered


@pytest.mark.parametrize("line", [
    "firmware add p 1 ", "firmware add a:b 1 ", "--cafile ", "--cafile=", "key show ",
    "firmware add p 1 x --sign-key ", "--description x firmware add p 1 ",
])
def test_completes_files(tmp_path, line):
    (tmp_path / "one file.bin").touch()
    assert complete(line, tmp_path) == ["one file.bin"]


def test_completes_in_an_interactive_bash(tmp_path):
    main, side = pty.openpty()
    environment = {**os.environ, "PS1": "$ ", "TERM": "dumb", "HOME": str(tmp_path)}
    command = ["bash", "--norc", "--noprofile", "-i"]
    with subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment,
                          cwd=tmp_path, start_new_session=True) as shell:
        os.close(side)
        os.write(main, f". {COMPLETION}; otactl() {{ echo got:$*; }}\n".encode())
        os.write(main, b"otactl product cr\tp --desc\tx --output=cs\t\nexit\n")
        heard = b""
        try:
            while b"got:product" not in heard and select.select([main], [], [], TIMEOUT)[0]:
                heard += os.read(main, 65536)
            while select.select([main], [], [], TIMEOUT)[0]:
                heard += os.read(main, 65536)
        except OSError:  # EIO: the shell has ended
            pass
        shell.wait(TIMEOUT)
    os.close(main)
    assert b"got:product create p --description x --output=csv" in heard


# -- man pages


def page(program):
    return BUILD / "man" / f"{program}.1"


def plain(program):
    """The page as a terminal shows it, without lines' ends and styles."""
    text = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-P-c", "-P-b", "-P-o", "-P-u", page(program)],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout
    return " ".join(text.replace("‐\n", "").split())


@pytest.mark.parametrize("program", ["otactl", "otasim"])
def test_a_man_page_is_what_the_program_prints(program):
    binary = {"otactl": OTACTL, "otasim": OTASIM}[program]
    printed = subprocess.run([binary, "--man-page"], check=True, stdout=subprocess.PIPE).stdout
    assert page(program).read_bytes() == printed


@pytest.mark.parametrize("program", ["otactl", "otasim"])
def test_a_man_page_has_a_sound_structure(program):
    lines = page(program).read_text().splitlines()
    assert lines[1].startswith(f".TH {program.upper()} 1 ")
    sections = [line[5:-1] for line in lines if line.startswith(".SH ")]
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"] and sections[-1] == "SEE ALSO"
    assert lines[lines.index('.SH "NAME"') + 1].startswith(f"{program} \\- ")
    known = {".\\\"", ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".BR", ".br", ".RS", ".RE", ".nf", ".fi"}
    assert {line.split()[0] for line in lines if line.startswith((".", "'"))} <= known
    for opens, closes in ((".RS 4", ".RE"), (".nf", ".fi")):
        assert lines.count(opens) == lines.count(closes)


@pytest.mark.parametrize("program", ["otactl", "otasim"])
def test_groff_has_nothing_to_say_about_a_man_page(program):
    run = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", page(program)], capture_output=True,
        text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert not run.stderr


def test_the_man_page_explains_every_command_and_option():
    text = plain("otactl")
    for verb in verbs():
        assert f" {verb['words']} " in text
        assert " ".join(verb["help"][1:].split()) in text, verb["words"]
        for param in verb["params"]:
            assert param["required"] or f"--{param['option']}" in text
    assert "--list-commands" not in text and "--man-page" not in text
    assert "otactl batch create testProduct 0.0.2 --from-version 0.0.1 --stage 1% --watch" in text


def test_the_man_page_of_otasim_explains_every_option():
    shown = subprocess.run([OTASIM, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    text = plain("otasim")
    options = re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE)
    assert len(options) > 30 and "--man-page" not in options
    for option in options:
        assert option in text
    assert "--mix 'ok=95,fail:-4=2,silent=1,slow=2' --seed 7" in text


def test_install_puts_everything_where_it_is_looked_for(tmp_path):
    subprocess.run(["cmake", "--install", BUILD, "--prefix", tmp_path], check=True,
                   stdout=subprocess.PIPE, timeout=60)
    placed = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert {"bin/otactl", "bin/otasim", "lib/mosquitto-ota/mosquitto_ota.so", "share/man/man1/otactl.1",
            "share/man/man1/otasim.1", "share/bash-completion/completions/otactl"} <= placed

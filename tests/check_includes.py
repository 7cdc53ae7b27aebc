#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom (docs/architecture.md): an arrow may only point down.

    check_includes.py [ROOT]      checks the tree, prints what is wrong, exits 1 if anything is
    check_includes.py --self-test proves that wrong includes are found
"""
import fnmatch
import re
import sys
import tempfile
from pathlib import Path

# layer: (its files under plugin/, the layers that it may include). First match counts. A new file
# in plugin/ belongs into one of these rows.
LAYERS = {
    "util": ("util/*", "util"),
    "table": ("command_table.* options.*", "util table"),
    "store": ("store/*", "util store"),
    "seam": ("broker.h", "util"),
    "pure": ("upgrade.* rollout.* target.*", "util table pure"),
    "url": ("download.* grant.*", "util store url"),
    "memory": ("fleet.* fleet_*.* batch.* batch_members.* heap.*", "util store pure memory"),
    "core": ("core.*", "util store seam pure memory core"),
    "told": ("events.* notice.*", "util store seam pure url memory core told"),
    "moves": ("tasks.* task_line.* task_make.* task_plan.*", "util store seam pure url memory core told moves"),
    "domain": (
        "batches.* batch_*.* prepare.* enrol.* continuous.* firmware.* dispatch.* devices.* gateways.* uploads.* load.* trail.* retention.*",
        "util table store seam pure url memory core told moves domain",
    ),
    "http": (
        "http.* server*.* guests*.* addresses.* link.* pace.* shape.* worker.* waker.* "
        "certificate.* image_*.* listen.*",
        "util store seam url http",
    ),
    "roles": ("roles.*", "util roles"),
    "people": (
        "console.* visit.* who.* api.* login.* sessions.* people.* password.* throttle.* "
        "streams.* mailbox.* pulse.* reply.* assets.* tokens.* bearer.* page.* numbers.*",
        "util seam http roles people",
    ),
    "door": (
        "access.* block_check.* inband.* broker_conf.* device_auth.* proofs.* vendor_login.* secrets.* keyfile.* intake.* operation.* machine.* report*.* control.* fields.* presence.* subject.* commands/* "
        "errands.* metrics.* token_book.* traffic.* turn.* envelope.* answers.* openapi.*",
        "util table store seam pure url memory core told moves domain http roles people door",
    ),
    "glue": (
        "plugin.* broker_mosquitto.* clocks.* broker_thread.* neighbours.* service.*",
        "util table store seam pure url memory core told moves domain http roles people door glue",
    ),
}

# The programs beside the library, and the layers that they may include; their own files they may.
TOOLS = {"cli": "util table", "sim": "util table"}

# Headers of libraries: where alone they may be included, in plugin/, cli/ and sim/.
SEAMS = {
    "mosquitto_broker.h": "plugin/broker_mosquitto.h",
    "mosquitto_plugin.h": "plugin/broker_mosquitto.h",
    "mosquitto.h": "plugin/broker_mosquitto.h cli/* sim/*",
    "sqlite3.h": "plugin/store/*",
    "microhttpd.h": "plugin/http.c plugin/server_inside.h plugin/server*.c plugin/reply.c",
    "curl/curl.h": "cli/* sim/*",
}

SPDX = "SPDX-License-Identifier: BSD-3-Clause"
SPDX_FILES = ("*.c", "*.h", "*.py", "*.sql", "*.sh", "*.js", "*.css", "CMakeLists.txt", "*.cmake")
SPDX_DIRS = "plugin cli sim examples tests bench schema console scripts .ci".split()
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, p) for p in patterns.split())


def layer_of(path):
    """The layer of a file under plugin/, by its path there; None for a stranger."""
    return next((name for name, (files, _) in LAYERS.items() if matches(path, files)), None)


def resolve(root, source, header):
    """The file of this tree that an #include "…" names; None where it isn't in the tree."""
    for base in (source.parent, root / "plugin", root, root / source.relative_to(root).parts[0]):
        candidate = (base / header).resolve()
        if candidate.is_file() and root in candidate.parents:
            return candidate.relative_to(root)
    return None


def check_target(relative, home, allowed, target):
    """What is wrong with a file of `home` (a layer or a tool) that includes target."""
    top = target.parts[0]
    if top == "plugin":
        layer = layer_of(target.relative_to("plugin").as_posix())
        if layer is None or layer in allowed.split():
            return None  # a stranger is reported where it lives
        return f"{home} must not include {target} ({layer})"
    if top == relative.parts[0]:
        return None
    return f"{home} must not include {target}"


def check_includes(root, relative, home, allowed):
    for number, line in enumerate((root / relative).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, header = match.groups()
        wrong = None
        if header in SEAMS and not matches(relative.as_posix(), SEAMS[header]):
            wrong = f"{header} belongs to {SEAMS[header]} alone"
        elif bracket == '"':
            target = resolve(root, root / relative, header)
            wrong = target and check_target(relative, home, allowed, target)
        if wrong:
            yield f"{relative}:{number}: {wrong}"


def check_plugin_file(root, relative):
    layer = layer_of(relative.relative_to("plugin").as_posix())
    if layer is None:
        yield f"{relative}:1: in no layer; add it to LAYERS in tests/check_includes.py"
        return
    yield from check_includes(root, relative, layer, LAYERS[layer][1])


def check_spdx(root):
    for top in SPDX_DIRS:
        for path in sorted((root / top).rglob("*")):
            script = path.parent.name in ("scripts", ".ci") and "." not in path.name
            if not path.is_file() or not (script or any(path.match(p) for p in SPDX_FILES)):
                continue
            head = path.read_text(errors="replace").splitlines()[:3]
            if not any(SPDX in line for line in head):
                yield f"{path.relative_to(root)}:1: no line '{SPDX}'"


def check_tree(root):
    root = Path(root).resolve()
    for path in sorted((root / "plugin").rglob("*.[ch]")):
        yield from check_plugin_file(root, path.relative_to(root))
    for tool, allowed in TOOLS.items():
        for path in sorted((root / tool).rglob("*.[ch]")):
            yield from check_includes(root, path.relative_to(root), tool, allowed)
    yield from check_spdx(root)


# file, its text after the SPDX line, what the complaint must hold (None: no complaint)
SELF_TEST = (
    ("plugin/util/words.h", "", None),
    ("plugin/command_table.h", '#include "util/words.h"', None),
    ("plugin/control.h", '#include "command_table.h"', None),
    ("plugin/store/store.h", '#include "../util/words.h"', None),
    ("plugin/commands/device.c", '#include "control.h"\n#include "store/store.h"', None),
    ("plugin/store/task.c", "# include <sqlite3.h>", None),
    ("cli/main.c", '#include <mosquitto.h>\n#include "command_table.h"', None),
    ("sim/main.c", '#include "util/words.h"', None),
    ("plugin/upgrade.c", '#include "control.h"', "pure must not include"),
    ("plugin/fleet.h", '#include "http.h"', "memory must not include"),
    ("plugin/http.h", "", None),
    ("plugin/util/names.c", '#include "store/store.h"', "util must not include"),
    ("plugin/store/open.c", '#include "broker.h"', "store must not include"),
    ("plugin/broker.h", "#include <mosquitto_broker.h>", "belongs to"),
    ("plugin/fleet.c", '#include "sqlite3.h"', "belongs to"),
    ("plugin/intake.c", "#include <microhttpd.h>", "belongs to"),
    ("plugin/stranger.c", "", "in no layer"),
    ("cli/bad.c", '#include "store/store.h"', "cli must not include"),
    ("sim/bad.c", '#include "../cli/bad.h"', "sim must not include"),
    ("cli/bad.h", "", None),
)


def self_test():
    """Writes the tree above and compares the complaints with what is expected, both ways."""
    failures = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        for path, text, _ in SELF_TEST:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(f"/* {SPDX} */\n{text}\n")
        (root / "plugin/util/bare.c").write_text("int x;\n")
        found = list(check_tree(root))
    expected = SELF_TEST + (("plugin/util/bare.c", "", "no line"),)
    for path, _, complaint in expected:
        of_file = [line for line in found if line.startswith(path + ":")]
        if len(of_file) != (complaint is not None) or not all(complaint in f for f in of_file):
            failures.append(f"self-test: {path}: expected {complaint!r}, found {of_file}")
    return failures


def main(arguments):
    if arguments == ["--self-test"]:
        wrong = self_test()
    else:
        wrong = list(check_tree(arguments[0] if arguments else Path(__file__).parents[1]))
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

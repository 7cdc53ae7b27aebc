# SPDX-License-Identifier: BSD-3-Clause
# What the scripts share: where the tree is, packages, building, and how they talk. To be sourced.
# shellcheck shell=bash disable=SC2034

OTA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export OTA_ROOT

# Another python3 may come first on PATH, without the modules that apt installs.
PYTHON=/usr/bin/python3

# gcc only recommends libc6-dev, and we install without recommendations.
PACKAGES_BUILD=(gcc libc6-dev cmake ninja-build pkg-config mosquitto-dev libmosquitto-dev
    libjansson-dev libsqlite3-dev libssl-dev libmicrohttpd-dev libcurl4-openssl-dev)
PACKAGES_RUN=(mosquitto openssl)
PACKAGES_TEST=(clang clang-format clang-tidy groff-base libcmocka-dev mosquitto-clients nginx-light
    python3 python3-pytest python3-pytest-xdist python3-paho-mqtt python3-yaml)
# libFuzzer and clang's sanitizers; its name has clang's version, which is installed by then.
package_of_fuzzer() { printf 'libclang-rt-%s-dev' "$(clang -dumpversion | cut -d. -f1)"; }
# Node for the tests of the console alone; npm where there is none already, with whatever Node.
PACKAGES_CONSOLE=(chromium mosquitto-clients)
command -v node >/dev/null || PACKAGES_CONSOLE+=(nodejs)
command -v npm >/dev/null || PACKAGES_CONSOLE+=(npm)
PACKAGES_PACKAGE=(dpkg-dev file)
PACKAGES_BENCH=(valgrind nginx-light python3 python3-paho-mqtt)

if [[ -t 1 ]]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
die() {
    printf '%s%s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

have_package() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo; run as root: $*"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}

# need_packages NAME...: installs what is missing; does nothing, quickly, where all is there.
need_packages() {
    local missing=() package
    command -v dpkg-query >/dev/null ||
        die "this isn't a Debian system; install what these Debian packages hold: $*"
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing with apt-get: ${missing[*]}"
    # A broken third-party source must not stop us: if a package is out of reach, install says so.
    apt_get update || say "apt-get update had errors; going on"
    apt_get install --no-install-recommends "${missing[@]}"
}

# A chroot may lack the line that every installed system has.
need_localhost() {
    getent hosts localhost >/dev/null && return
    say "adding localhost to /etc/hosts"
    echo "127.0.0.1 localhost" | as_root tee -a /etc/hosts >/dev/null
}

# build_preset NAME [CMAKE_BUILD_ARGUMENT...]: configures and builds a preset of CMakePresets.json.
# Whether unit tests belong to it is said each time: the demo must do without cmocka, and what it
# left in the cache must not hide the tests from scripts/test.
build_preset() {
    local preset=$1 tests=OFF
    shift
    [[ $preset != fuzz && $preset != package ]] && have_package libcmocka-dev && tests=ON
    (cd "$OTA_ROOT" &&
        cmake --preset "$preset" -DOTA_TESTS=$tests --log-level=WARNING >/dev/null &&
        cmake --build --preset "$preset" "$@")
}

# build_quietly PRESET...: says something only if it fails.
build_quietly() {
    local output
    output=$(build_preset "$@" 2>&1) || {
        printf '%s\n' "$output"
        return 1
    }
}

# fuzz_all SECONDS: builds the fuzz targets and runs each for so long, two at a time.
fuzz_all() {
    local seconds=$1 work status=0
    need_packages "$(package_of_fuzzer)"
    build_quietly fuzz --target ota_fuzz
    work=$(mktemp -d)
    find tests/fuzz -name 'fuzz_*.c' -printf '%f\n' | sed 's/fuzz_\(.*\)\.c/\1/' | sort |
        xargs -P 2 -I NAME scripts/fuzz-one build-fuzz NAME "$seconds" "$work" || status=$?
    rm -rf "$work"
    return "$status"
}

# need_node_modules: what the console's tests need from npm, into build/, never into the tree; again
# only when the lock file changed. Says where in NODE_MODULES.
need_node_modules() {
    local place=$OTA_ROOT/build/console-tests
    NODE_MODULES=$place/node_modules
    cmp -s "$OTA_ROOT/tests/console/package-lock.json" "$place/installed" && return
    mkdir -p "$place"
    cp "$OTA_ROOT"/tests/console/package{,-lock}.json "$place"
    npm ci --prefix "$place" --ignore-scripts --no-audit --no-fund --loglevel=error || return
    cp "$place/package-lock.json" "$place/installed"
}

# c_files DIR...: their C files, tracked or new; what a build makes lies elsewhere.
C_DIRS=(plugin cli sim tests bench examples)
c_files() {
    (cd "$OTA_ROOT" && find "$@" -name '*.[ch]' -type f | sort)
}

# What .ci/run and .ci/full have in common: a working directory, steps, and how to install.
# shellcheck shell=bash

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
export COVERAGE_FILE=$work/coverage PIP_DISABLE_PIP_VERSION_CHECK=1
# Some images set it, and then each of the hundreds of started programs compiles the package anew.
unset PYTHONDONTWRITEBYTECODE
export LITESESS_SCREENSHOTS=${CI_ARTIFACTS:-$PWD/build}/screenshots

log=$work/log

# Runs a command; says its name and seconds, and if it failed the end of its output, which is in $log.
step() {
    local name=$1 start=$SECONDS status=0
    shift
    "$@" </dev/null >"$log" 2>&1 || status=$?
    if ((status)); then
        tail -n 400 "$log"
        printf 'FAILED  %3d s  %s\n' $((SECONDS - start)) "$name"
        exit "$status"
    fi
    printf 'ok      %3d s  %s\n' $((SECONDS - start)) "$name"
}

# Runs a function of steps beside those that follow; `join` waits for it, and shows what it has said.
beside() {
    (
        log=$work/log-beside
        "$@"
    ) >"$work/said" 2>&1 &
    other=$!
}
join() {
    local status=0
    wait "$other" || status=$?
    cat "$work/said"
    if ((status)); then
        exit "$status"
    fi
}

install() { # PYTHON VENV [EXTRAS]
    "$1" -m venv "$2" && "$2/bin/pip" install --quiet -e ".[${3:-test}]"
}

# The lowest versions that setup.cfg allows go before those of the environment.
install_lowest() {
    "$bin/python" -m tests.tools.lowest |
        xargs "$bin/pip" install --quiet --no-deps --target "$work/lowest"
}

build_site() {
    "$bin/python" -m sphinx -q -W --keep-going -b html docs "$work/site"
}

with_lowest() { # TESTS
    PYTHONPATH=$work/lowest "$bin/python" -m pytest -q -n auto -m 'not slow' "$@"
}

install_tools() (
    # RUNLEVEL: no service is to be started.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update --quiet || true
    for package in "${tools[@]}"; do
        apt-get install --quiet --yes --no-install-recommends "$package" ||
            echo "$package is not to be had here; its tests are skipped"
    done
    for minor in 15 14 13; do
        if apt-get install --quiet --yes --no-install-recommends "python3.$minor-venv"; then
            break
        fi
    done
)

# The README's walk is done with curl, power cuts with btrfs; browsers, their proxy, Apache and Redis
# are Debian's, as is what counts instructions.  Without them those tests are skipped.
tools=(
    curl strace btrfs-progs chromium chromium-driver nginx-light redis-server valgrind
    apache2 libapache2-mod-wsgi-py3
)
has_tools() {
    command -v curl && command -v mkfs.btrfs && command -v chromium && command -v chromedriver &&
        PATH=$PATH:/usr/sbin command -v nginx && PATH=$PATH:/usr/sbin command -v apache2 &&
        command -v redis-server && command -v valgrind
}
install_missing_tools() {
    if ! has_tools >/dev/null && command -v apt-get >/dev/null && ((EUID == 0)); then
        step "install ${tools[*]}" install_tools
    fi
}

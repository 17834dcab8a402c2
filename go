#!/bin/sh
# ./go demo | test | check | bench NAME | run VERB …   Makes .venv on first use; nothing else has to be set up.
set -eu
cd "$(dirname "$0")"
venv=.venv
python=$venv/bin/python

usage() {
    cat <<'TEXT'
usage: ./go COMMAND
  demo          embed, scan, map and predict the proteins in examples/, fine-tune for a moment, leave reports in demo/
  test          check, then all tests that need neither a GPU nor minutes (add --slow, --gpu or pytest's options)
  check         format, lint, types and import layers
  bench NAME    measure on this machine (esm, finetune, pair_head, serve, fold, aido, aido_pretraining, protst,
                protst_scaling, xtrimo, proteingym_supervised): prints a table, writes JSON beside it
  run VERB …    the chaperonin command of this checkout
  setup         only make .venv
TEXT
}

find_python() {
    for name in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 || continue
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "$name"
            return
        fi
    done
    echo "chaperonin needs Python 3.11 or newer: install it, or name it with PYTHON=…" >&2
    exit 1
}

# Debian and Ubuntu keep pip apart from Python. Its wheel comes from their archive and stays in .venv: that needs no root.
fetch_pip() {
    rm -rf "$venv/debian"
    mkdir "$venv/debian"
    (
        cd "$venv/debian" || exit 1
        fetch="apt-get -qq download python3-pip-whl"
        { $fetch 2>/dev/null || { apt-get -qq update && $fetch; }; } && dpkg-deb -x python3-pip-whl_*.deb .
    )
}

install_uv() {
    base=$(find_python)
    install="install --quiet --disable-pip-version-check uv==$1"
    if "$base" -c 'import ensurepip' 2>/dev/null; then
        "$base" -m venv "$venv"
        "$python" -m pip $install
    elif command -v uv >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python "$base" "$venv"
    else
        "$base" -m venv --without-pip "$venv"
        if "$base" -m pip --version >/dev/null 2>&1; then
            "$base" -m pip --python "$python" $install
        elif fetch_pip >&2; then
            PYTHONPATH=$(echo "$PWD/$venv"/debian/usr/share/python-wheels/pip-*.whl) "$python" -m pip $install
        else
            echo "no pip for $base: install python3-venv, pip or uv, then run this again" >&2
            exit 1
        fi
    fi
}

setup() {
    stamp=$(cat requirements.lock pyproject.toml | cksum)
    [ -f "$venv/stamp" ] && [ "$(cat "$venv/stamp")" = "$stamp" ] && return
    echo "setting up $venv (once)" >&2
    uv_version=$(sed -n 's/^uv==//p' requirements.lock)
    uv=$venv/bin/uv
    [ -x "$uv" ] || install_uv "$uv_version"
    [ -x "$uv" ] || uv=uv
    # A folder of wheels that pip was told of serves uv too; without one, a machine without a GPU gets PyTorch's CPU build.
    if [ -n "${PIP_FIND_LINKS:-}" ]; then
        UV_FIND_LINKS=${UV_FIND_LINKS:-$PIP_FIND_LINKS}
        export UV_FIND_LINKS
    elif ! command -v nvidia-smi >/dev/null 2>&1; then
        UV_TORCH_BACKEND=${UV_TORCH_BACKEND:-cpu}
        export UV_TORCH_BACKEND
    fi
    VIRTUAL_ENV=$venv "$uv" pip install --quiet -r requirements.lock
    VIRTUAL_ENV=$venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
    echo "$stamp" >"$venv/stamp"
}

lint() {
    "$python" -m ruff format --check src tests benchmarks examples
    "$python" -m ruff check src tests benchmarks examples
    "$venv/bin/lint-imports" --no-cache
}

types() {
    "$python" -m mypy
}

# Without bytecode importing PyTorch takes twice as long: where Python may leave none beside the sources, it is left in
# .venv.
keep_bytecode() {
    [ -n "${PYTHONDONTWRITEBYTECODE:-}" ] || return 0
    unset PYTHONDONTWRITEBYTECODE
    PYTHONPYCACHEPREFIX=$PWD/$venv/bytecode
    export PYTHONPYCACHEPREFIX
}

side_by_side() {
    OMP_NUM_THREADS=1 "$python" -m pytest -n "$workers" --dist worksteal "$@"
}

tests() {
    marks="not slow and not gpu"
    workers=$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 1)
    [ "$workers" -le 4 ] || workers=4
    case " $* " in *" --slow "*) marks="not gpu" ;; esac
    case " $* " in *" --gpu "*) marks="gpu" workers=1 ;; esac
    for option in "$@"; do
        shift
        case $option in --slow | --gpu) ;; *) set -- "$@" "$option" ;; esac
    done
    # What pytest is told besides may be --pdb, or a test by name: one process then, as whoever types it expects.
    if [ $# -gt 0 ] || [ "$workers" -lt 2 ]; then
        types
        "$python" -m pytest -m "$marks" "$@"
        return
    fi
    # Types keep one processor busy for up to a minute: they are checked beside the first tests.
    types >"$venv/types.log" 2>&1 &
    checking=$!
    # Every call's shapes are checked where models, layers and kernels are tested. It takes a fifth of the time, so the
    # tests of what is built on them go without.
    shapes="tests/models tests/layers tests/kernels tests/contracts tests/adapt"
    failed=0
    side_by_side -m "$marks and not alone" $shapes || failed=$?
    wait "$checking" || { cat "$venv/types.log" >&2 && return 1; }
    cat "$venv/types.log"
    [ "$failed" -le 1 ] || return "$failed"
    side_by_side -m "$marks and not alone" --jaxtyping-packages= $(printf -- '--ignore=%s ' $shapes) || failed=$?
    [ "$failed" -le 1 ] || return "$failed"
    "$python" -m pytest -m "$marks and alone" $(grep -rl --include='test_*.py' 'mark\.alone' tests) || failed=$?
    [ "$failed" -eq 0 ] || echo "tests failed: their names stand above, after \"short test summary info\"" >&2
    return "$failed"
}

keep_bytecode
command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
    # Not joined with &&: sh goes on after a failure inside a function that stands in front of it.
    demo) setup; exec "$python" examples/demo.py "$@" ;;
    test) setup; lint; tests "$@" ;;
    check) setup; lint; types ;;
    bench)
        [ $# -gt 0 ] || { usage && exit 1; }
        name=$1
        shift
        [ -f "benchmarks/$name.py" ] || { echo "there is no benchmarks/$name.py" >&2 && exit 1; }
        setup
        exec "$python" -m "benchmarks.$name" "$@"
        ;;
    run) setup; exec "$venv/bin/chaperonin" "$@" ;;
    setup) setup ;;
    help | -h | --help) usage ;;
    *) usage >&2 && exit 1 ;;
esac

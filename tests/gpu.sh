#!/usr/bin/env bash
# What only a GPU can show, the most important first, in at most ten minutes: tests/gpu.sh [FOLDER]
#
# It needs Python with torch, NumPy, pytest, pytest-timeout, pytest-xdist and hypothesis, and for the last step CIFAR-10
# in the data folder; no Ray and no network. What a step prints is in FOLDER (default results/gpu) as it comes. Called
# again it does not do again what is done, and trainings go on where they were.
#
# PYTHON names another Python, LIMIT other seconds than 600. REHEARSE=1 goes through it on a CPU, with everything small.
set -uo pipefail
cd "$(dirname "$0")/.."
export FOLDER=${1:-results/gpu} PYTHON=${PYTHON:-python3} PYTHONPATH=$PWD PYTHONUNBUFFERED=1
export OPTIONS="--device cuda --compile"
device=cuda few="" end=$((SECONDS + ${LIMIT:-600}))
if [ "${REHEARSE:-}" ]; then
    export OMP_NUM_THREADS=1
    device=cpu few="--rounds 1 --networks birealnet20"
    OPTIONS="--epochs 2 --train-fraction 0.01 --width 8 --image-size 16"
fi
mkdir -p "$FOLDER"

step() { # NAME SECONDS COMMAND...: for at most so many seconds, and no more than are left
    local name=$1 seconds=$2 left=$((end - SECONDS))
    shift 2
    if [ -e "$FOLDER/$name.done" ]; then
        echo "== $name: done before, see $FOLDER/$name.log"
        return
    fi
    seconds=$((seconds < left ? seconds : left))
    if [ "$seconds" -lt 5 ]; then
        echo "== $name: no time is left, call again"
        return
    fi
    echo "== $name, at most $seconds s"
    if timeout "$seconds" "$@" 2>&1 | tee "$FOLDER/$name.log"; then
        touch "$FOLDER/$name.done"
    else
        echo "== $name: not done"
    fi
}

trainings() { # of Table 2's network by its filter, three seeds side by side
    local started=() seed failed=0
    for seed in 0 1 2; do
        "$PYTHON" -m trainers cifar10-birealnet20 gradient-filter --set alpha=1e-3 --set gamma=0.1 --set decay=cosine \
            --seed $seed --split-seed $seed --checkpoint "$FOLDER/cifar10-$seed.pt" $OPTIONS \
            >"$FOLDER/cifar10-$seed.jsonl" 2>"$FOLDER/cifar10-$seed.err" &
        started+=($!)
    done
    trap 'kill "${started[@]}"' TERM
    for process in "${started[@]}"; do wait "$process" || failed=1; done
    tail -n 1 "$FOLDER"/cifar10-*.jsonl "$FOLDER"/cifar10-*.err
    return $failed
}
export -f trainings

"$PYTHON" -c 'import platform, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"Python {platform.python_version()}, torch {torch.__version__}, {gpu}")' | tee "$FOLDER/machine.txt"
step tests 200 "$PYTHON" -m pytest --numprocesses 4 --durations 10 -p no:cacheprovider tests/trainers/test_gpu.py
step filter-step 60 "$PYTHON" tests/benchmarks/optimizer_step.py --device $device ${few%% --networks*}
step network-step 150 "$PYTHON" tests/benchmarks/network_step.py --device $device $few
step stacked 90 "$PYTHON" tests/benchmarks/stacked_trainings.py --device $device ${few:+--trainings 2 8 --alone 2}
step stacked-float64 40 "$PYTHON" tests/benchmarks/stacked_trainings.py --device $device --precision float64 \
    --trainings 8 ${few:+--alone 2}
step cifar10 600 bash -c trainings

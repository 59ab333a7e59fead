#!/usr/bin/env bash
# Ray on machines of your own, with a token: this machine alone, or several in one network.
#
#   jobs/local.sh head [ADDRESS]       the first machine, by its address in the cluster's network (default: 127.0.0.1)
#   jobs/local.sh join HEAD ADDRESS    each other one, whenever it likes, by the head's address and its own
#   jobs/local.sh stop                 each, at the end; it ends every Ray of yours on the machine
#
# Then, on any of them:              thpsweep sweep ... hydra.launcher.address=auto
# or, from wherever the head's dashboard is reached:  python jobs/submit.py --address http://HEAD:8265 -- ...
#
# Each machine needs thpsweep of the same source, the same Python, and the token of the first, in a file of mode 600:
# ${RAY_AUTH_TOKEN_PATH:-~/.ray/auth_token}. What follows the arguments above goes to `ray start` (--num-cpus=4, ...).
# Ports: 6379-6387, 8265 and 10001 (the head), 10002-19999. Ray listens on every address of a machine that is not
# 127.0.0.1: let the cluster's network in and nobody else, as README.md beside this says under "Who reaches what".
set -euo pipefail

usage() { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }

mode=${RAY_AUTH_MODE:-token}
if [ "${THPSWEEP_INSECURE_RAY:-}" = 1 ]; then
    echo "local.sh: THPSWEEP_INSECURE_RAY=1: WITHOUT A TOKEN WHOEVER REACHES THIS MACHINE'S PORTS RUNS CODE ON IT AS YOU" >&2
elif [ "$mode" != token ]; then
    echo "local.sh: RAY_AUTH_MODE='$mode': expected token (THPSWEEP_INSECURE_RAY=1 if you mean it)" >&2
    exit 2
fi
export RAY_AUTH_MODE=$mode RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_UV_RUN_RUNTIME_ENV=0
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
export RAY_AUTH_TOKEN_PATH=$token AUTOSCALER_METRIC_PORT=6386 DASHBOARD_METRIC_PORT=6387
# A machine that is cut off is given up after (4 s + 3 s) x 5; by default after 65 s. It costs a sweep one chunk of points.
export RAY_health_check_timeout_ms=4000
ports=(--node-manager-port=6380 --object-manager-port=6381 --dashboard-agent-grpc-port=6382 --runtime-env-agent-port=6383
    --metrics-export-port=6384 --dashboard-agent-listen-port=6385 --min-worker-port=10002 --max-worker-port=19999)

case ${1:-} in
head)
    address=${2:-127.0.0.1}
    if [ ! -s "$token" ]; then
        (umask 077; mkdir -p "$(dirname "$token")"; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$token")
        echo "local.sh: a new token is in $token; copy it to the other machines" >&2
    fi
    exec ray start --head --node-ip-address="$address" --port=6379 --include-dashboard=true --dashboard-host="$address" \
        --dashboard-port=8265 "${ports[@]}" --disable-usage-stats "${@:3}"
    ;;
join)
    [ $# -ge 3 ] || usage
    [ -s "$token" ] || { echo "local.sh: $token: expected the head's token; copy it here" >&2; exit 2; }
    exec ray start --address="$2:6379" --node-ip-address="$3" "${ports[@]}" --disable-usage-stats "${@:4}"
    ;;
stop) exec ray stop --grace-period 10 >/dev/null ;; # it says a lot
*) usage ;;
esac

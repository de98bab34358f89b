#!/bin/bash
# Backpressure: how long it was and who it came from, with real sockets.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin causes
watched causes.py

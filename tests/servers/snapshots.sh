#!/bin/bash
# Every document read while streams come and go is well-formed, adds up, and falls in nothing.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin snapshots
watched snapshots.py

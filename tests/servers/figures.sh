#!/bin/bash
# The figures of each stream are what the kernel's own are: 200 random connections.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin figures
watched figures.py

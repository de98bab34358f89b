#!/bin/bash
# A process of the family that overwrites all that they share harms figures, and nothing else.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin noise
watched noise.py

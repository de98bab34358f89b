#!/bin/bash
# How members of a family end, and what becomes of what they had open.
# shellcheck source-path=SCRIPTDIR source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"

case_begin endings
watched endings.py

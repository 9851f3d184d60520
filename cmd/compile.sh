#!/bin/sh
# Runs go build, and says how far it is when there is much to compile: compile.sh WHAT OUT [FLAG]... PACKAGE...
set -eu
what=$1 out=$2
shift 2
total=$(go list -deps "$@" | wc -l)
# go writes the path of each package that it compiles, and its errors, to the same stream.
{ go build -v -trimpath -buildvcs=false -ldflags='-s -w' -o "$out" "$@" 2>&1 && echo done; } | awk -v what="$what" -v total="$((total))" '
    $0 == "done" { done = 1; next }
    /^[^ #:]+$/ { if (++n % 50 == 0) print "Compiling " what ": " n " of at most " total " packages" > "/dev/stderr"; next }
    { print > "/dev/stderr" }
    END { exit !done }'

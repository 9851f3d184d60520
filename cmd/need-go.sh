#!/bin/sh
# Says before anything is installed that Go is missing or too old. A Go that knows GOTOOLCHAIN gets the version of go.mod by itself.
version=$(GOTOOLCHAIN=local go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
[ "${version:-0}" -ge 21 ] && exit
echo "Go is missing or too old (found: $(go version 2>&1 | head -n 1)). Install Go 1.21 or newer from https://go.dev/dl or your system's packages; $(sed -n 's/^toolchain //p' go.mod) is then fetched by itself." >&2
exit 1

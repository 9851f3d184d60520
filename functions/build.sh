#!/bin/sh
# Builds every Lambda function for both of its architectures and zips it into dist/functions/<architecture>/<function>.zip: the
# same bytes on every machine, because an asset's hash goes by them. Make starts it, and exports GOTOOLCHAIN.
set -eu
unset CDPATH
cd "$(dirname "$0")/.."

# What decides the bytes besides the sources. An empty GOFLAGS would leave it to the file of `go env -w`.
export GOAMD64=v1 GOARM64=v8.0 GOFLAGS=-mod=readonly GOEXPERIMENT= GOFIPS140=off CGO_ENABLED=0

# A folder of its own: two makes may build at once.
mkdir -p bin dist
work=$(mktemp -d bin/functions.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# First of all, since make takes the folder's time for the build's: what is edited from here on is built again.
mkdir -p "$work/functions/x86_64" "$work/functions/arm64"

# build GOARCH PACKAGE OUT
build() {
    GOOS=linux GOARCH=$1 go build -trimpath -buildvcs=false -ldflags='-s -w' -tags=lambda.norpc -o "$work/$3" "$2"
}

# pack ARCHITECTURE GOARCH FUNCTION [FILE]...: by AWS's own tool, whose zips hold no times. A folder instead of a zip would be
# hashed and copied file by file at each synth.
pack() (
    out=functions/$1/$3.zip
    build "$2" "./functions/$3" bootstrap
    shift 3
    cd "$work"
    said=$(go tool build-lambda-zip -o "$out" bootstrap "$@" 2>&1) || {
        echo "$out: $said" >&2
        exit 1
    }
)

build amd64 ./functions/seedimage/seed seed-amd64
build arm64 ./functions/seedimage/seed seed-arm64
while read -r architecture goarch; do # as AWS Lambda and as Go call it
    pack "$architecture" "$goarch" seedimage seed-amd64 seed-arm64
    pack "$architecture" "$goarch" schemainit
    pack "$architecture" "$goarch" release
done <<END
x86_64 amd64
arm64 arm64
END

# New files each time: the CDK remembers hashes by inode, size and time. Of two makes at once the last one's stay.
mv dist/functions "$work/old" 2>/dev/null || true
mv "$work/functions" dist/ || [ -d dist/functions ]

#!/bin/sh
# Reduce a virtual environment to what a container needs: `slim.sh VENV`. Remove build tools (headers, libclang, pip,
# the project's build backend) and the tests and type stubs of packages. Then compile the packages to byte code. Python
# does not compare this byte code with its source (unchecked-hash), because layers may change the times of files.
set -eu
venv=$1
python="$venv/bin/python"
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

"$python" -m pip --disable-pip-version-check uninstall --quiet --yes editables hatchling trove-classifiers pluggy pathspec
rm -rf "$packages"/clang "$packages"/libclang-*.dist-info "$packages"/tensorflow/include "$packages"/jaxlib/include
find "$packages" -type d \( -name tests -o -name testdata \) -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' \) -delete
"$python" -m pip --disable-pip-version-check uninstall --quiet --yes pip
rm -f "$venv"/bin/[Aa]ctivate* "$venv"/bin/pip*
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages" || true  # some packages ship templates

#!/bin/sh
# reflex with a command for each changed name: sh reflex.sh FOLDER FILE
#
# It says that it is ready before it watches: reflex itself says nothing.
# The test's contents need no escapes.
if [ "$1" = --changed ]; then
    name=${3#./}
    named=null
    [ -f "$name" ] && named="\"$(cat "$name")\""
    printf 'reaction {"name":"%s","file":"%s","named":%s}\n' "$name" "$(cat "$2")" "$named"
    exit
fi
script=$(realpath "$0")
command -v reflex >/dev/null || exit 127
cd "$1" || exit
echo "ready $(dpkg-query --show --showformat '${Version}' reflex 2>/dev/null | sed 's/-.*//')"
exec reflex --decoration=none --regex=. -- sh "$script" --changed "$2" '{}'

#!/bin/sh
# A script as they are written, inotifywait in a pipe: sh inotifywait.sh WATCHED FILE
#
# The test's contents need no escapes.
version=$(inotifywait --help | sed -n '1s/^inotifywait //p')
folder=$(dirname "$2")
inotifywait --monitor --event close_write,moved_to,delete --format '=%f' "$1" 2>&1 | while read -r line; do
    case $line in
        Setting*) ;;
        Watches*) echo "ready $version" ;;
        =*)
            name=${line#=}
            named=null
            [ -f "$folder/$name" ] && named="\"$(cat "$folder/$name")\""
            printf 'reaction {"name":"%s","file":"%s","named":%s}\n' "$name" "$(cat "$2")" "$named"
            ;;
        *) echo "error $line" ;;
    esac
done

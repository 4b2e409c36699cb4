#!/usr/bin/env bash
# The line protocol in Bash: "add" and "count", as in the other languages of this folder.
# Bash has no parser for JSON. It does not need one: Cyclone writes its lines without blanks.

calls=0
number='-?[0-9]{1,18}'

while IFS= read -r line; do
    calls=$((calls + 1))
    if [[ $line =~ ^\[\"add\",\[($number),($number)\]\]$ ]]; then
        echo "{\"sum\":$((BASH_REMATCH[1] + BASH_REMATCH[2]))}"
    elif [[ $line == '["count",[]]' ]]; then
        echo "{\"calls\":$calls}"
    elif [[ $line =~ ^\[\"add\",\[[^],]*,[^],]*\]\]$ ]]; then
        echo '{"error":"invalid_data_format"}'
    elif [[ $line =~ ^\[\"(add|count)\", ]]; then
        echo '{"error":"invalid_param_count"}'
    else
        echo '{"error":"no_such_task"}'
    fi
done

/* The line protocol in C: "add" and "count", as in the other languages of this folder.
 *
 *   cc -O2 -o service service.c
 *
 * There is no parser for JSON in the standard library. This program does not need one: Cyclone writes its lines without
 * blanks. Take a library for whatever is more than this. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole number at *at, which is moved behind it; 0 where there is none. */
static int number(const char **at, long long *value)
{
    char *end;
    if (**at != '-' && (**at < '0' || **at > '9'))
        return 0;
    errno = 0;
    *value = strtoll(*at, &end, 10);
    if (errno || end == *at)
        return 0;
    *at = end;
    return 1;
}

/* How many arguments stand in "[...]]", as long as none of them holds a comma or a bracket. */
static int arguments(const char *list)
{
    int commas = 0;
    if (!strncmp(list, "[]", 2))
        return 0;
    for (; *list; list++)
        commas += *list == ',';
    return commas + 1;
}

static void add(const char *list)
{
    long long a, b, sum;
    const char *at = list + 1;
    if (arguments(list) != 2)
        puts("{\"error\":\"invalid_param_count\"}");
    else if (!number(&at, &a) || *at++ != ',' || !number(&at, &b) || strcmp(at, "]]") ||
             __builtin_add_overflow(a, b, &sum))
        puts("{\"error\":\"invalid_data_format\"}");
    else
        printf("{\"sum\":%lld}\n", sum);
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    long long calls = 0;
    ssize_t length;

    /* Or the answer would wait in a buffer while Cyclone waits for it. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    while ((length = getline(&line, &room, stdin)) > 0) {
        calls++;
        if (line[length - 1] == '\n')
            line[length - 1] = '\0';
        if (!strncmp(line, "[\"add\",", 7))
            add(line + 7);
        else if (strncmp(line, "[\"count\",", 9))
            puts("{\"error\":\"no_such_task\"}");
        else if (arguments(line + 9))
            puts("{\"error\":\"invalid_param_count\"}");
        else
            printf("{\"calls\":%lld}\n", calls);
    }
    free(line);
    return 0;
}

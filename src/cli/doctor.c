/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel doctor`: what this host offers, what is missing, how to get it. Changes nothing. */
#include "cli/doctor.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/path.h"
#include "cli/command.h"

enum { TRY_MS = 15000 };

static const char *const level_names[] = {"good", "limited", "missing"};

void doctor_add(struct doctor *d, enum doctor_level level, const char *feature, const char *follows,
                const char *mend, const char *fmt, ...)
{
    if (d->count == DOCTOR_ROWS_MAX)
        return;
    struct doctor_row *row = &d->rows[d->count++];
    va_list args;
    row->level = level;
    row->follows = level == DOCTOR_GOOD ? "" : follows;
    row->mend = level == DOCTOR_GOOD ? "" : mend;
    snprintf(row->feature, sizeof row->feature, "%s", feature);
    va_start(args, fmt);
    vsnprintf(row->found, sizeof row->found, fmt, args);
    va_end(args);
}

bool doctor_good(const struct doctor *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->rows[i].level == DOCTOR_MISSING)
            return false;
    return true;
}

void doctor_existing(const char *path, char *out, size_t size)
{
    snprintf(out, size, "%s", path);
    while (access(out, F_OK) < 0 && strcmp(out, "/") != 0) {
        struct str up = path_dir(str_from(out));
        out[up.len] = '\0';
        if (up.p != out)
            snprintf(out, size, "%.*s", STR_ARG(up));
    }
}

bool doctor_try(void (*fn)(void *arg, int fd), void *arg, char *out, size_t size)
{
    int fds[2];
    out[0] = '\0';
    if (pipe(fds) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        fn(arg, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    struct pollfd p = {fds[0], POLLIN, 0};
    ssize_t n = pid > 0 && poll(&p, 1, TRY_MS) > 0 ? fd_read_all(fds[0], out, size - 1) : -1;
    out[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return n > 0;
}

static void print_table(const struct doctor *d)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_row *row = &d->rows[i];
        printf("%-8s %-20s %s\n", level_names[row->level], row->feature, row->found);
        if (row->follows[0])
            printf("%29s follows: %s\n", "", row->follows);
        if (row->mend[0])
            printf("%29s mend: %s\n", "", row->mend);
    }
    printf("\ncarrel serve %s on this host\n", doctor_good(d) ? "can run" : "can NOT run");
}

static void print_json(const struct doctor *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->count; i++) {
        const struct doctor_row *row = &d->rows[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:s}", "feature", row->feature,
                                              "level", level_names[row->level], "found", row->found,
                                              "follows", row->follows, "mend", row->mend));
    }
    json_t *json = json_pack("{s:b,s:o}", "good", doctor_good(d), "features", list);
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

static void usage(FILE *out)
{
    fprintf(out,
            "usage: carrel doctor [--json] [--state DIR] [--templates DIR]\n\n"
            "What this host offers to `carrel serve`, what follows from what it lacks, and how\n"
            "to mend it. Needs root to see all. Exit status 0 if the server can run here.\n");
}

int command_doctor(int argc, char **argv)
{
    struct doctor d = {.state_dir = "/var/lib/carrel"};
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--state") == 0 && i + 1 < argc) {
            d.state_dir = argv[++i];
        } else if (strcmp(argv[i], "--templates") == 0 && i + 1 < argc) {
            d.templates_dir = argv[++i];
        } else {
            bool asked = strcmp(argv[i], "--help") == 0;
            usage(asked ? stdout : stderr);
            return asked ? 0 : 2;
        }
    }
    _cleanup_free_ char *templates = path_join(d.state_dir, "templates");
    if (!d.templates_dir)
        d.templates_dir = templates;
    doctor_look_at_kernel(&d);
    doctor_look_at_files(&d);
    doctor_look_at_host(&d);
    if (json)
        print_json(&d);
    else
        print_table(&d);
    return doctor_good(&d) ? 0 : 1;
}

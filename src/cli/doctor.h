/* SPDX-License-Identifier: Apache-2.0 */
/* What `carrel doctor` finds: one row a feature of the host, with what follows from it and how to
 * mend what is missing. The parts add rows; doctor.c prints them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum doctor_level {
    DOCTOR_GOOD,
    DOCTOR_LIMITED, /* `carrel serve` runs, with something less */
    DOCTOR_MISSING, /* it does not run */
};

struct doctor_row {
    enum doctor_level level;
    char feature[24];
    char found[200];
    const char *follows; /* static; "" where all is well */
    const char *mend;
};

enum { DOCTOR_ROWS_MAX = 48 };
struct doctor {
    const char *state_dir; /* where sandboxes would live; need not exist */
    const char *templates_dir;
    struct doctor_row rows[DOCTOR_ROWS_MAX];
    size_t count;
};

/* follows and mend are kept as they are and matter for what is not good. */
void doctor_add(struct doctor *d, enum doctor_level level, const char *feature, const char *follows,
                const char *mend, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Nothing is missing. */
bool doctor_good(const struct doctor *d);

/* The nearest directory at or above path that exists. */
void doctor_existing(const char *path, char *out, size_t size);
/* Runs fn(arg, fd) in a child that may change anything about itself, and returns what it wrote to
 * fd, at most size - 1 bytes; "" with a result of false when it wrote nothing or took too long. */
bool doctor_try(void (*fn)(void *arg, int fd), void *arg, char *out, size_t size);

void doctor_look_at_kernel(struct doctor *d); /* doctor_kernel.c */
void doctor_look_at_files(struct doctor *d);  /* doctor_files.c */
void doctor_look_at_host(struct doctor *d);   /* doctor_host.c */

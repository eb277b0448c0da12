/* SPDX-License-Identifier: Apache-2.0 */
/* Names of user and group ids with a small memory, so that a listing reads passwd and group once
 * and not per entry. Not thread-safe: one per thread of work. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum { OWNERS_SLOTS = 32 };

struct owners_stamp {
    ino_t ino;
    off_t size;
    struct timespec mtime;
};

/* A zeroed struct is ready for use. */
struct owners {
    struct {
        char *name; /* NULL: free */
        uint32_t id;
        bool group;
    } slots[OWNERS_SLOTS];
    unsigned next; /* the slot to be given up next */
    struct owners_stamp passwd, group;
};

/* Forgets everything if the files have changed since the last call. Once per request. */
void owners_refresh(struct owners *o);
/* The name, or the number as text. Valid until the next call. */
const char *owners_user(struct owners *o, uid_t uid);
const char *owners_group(struct owners *o, gid_t gid);
void owners_done(struct owners *o);

/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of the benchmarks say to a server: one request at a time on a kept connection.
 * Different threads may use different connections. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BODY_KEPT = 64 * 1024, BLOCK = 1 << 20 };

struct sandbox {
    char id[64];
    char token[256];
};

/* One kept connection; the server may close it, then the next request opens another. */
struct connection {
    int fd; /* -1: not open */
    size_t size;
    char *in;
    size_t start, end;
};

/* Monotonic nanoseconds. */
int64_t now(void);
_Noreturn void die(const char *what);

/* argv: host, port, key. */
void client_open(char **argv);
struct connection *connection_new(size_t size);
void disconnect(struct connection *c);

/* Sends one request (body NULL: `length` bytes of filling) and reads its answer to the end; the first
 * BODY_KEPT - 1 bytes of it go to answer. Returns the status, 0 if it failed. */
int request(struct connection *c, const char *head, const char *body, uint64_t length,
            char *answer);
/* Request line and routing fields of a request into the sandbox. */
void inside(char *head, size_t size, const struct sandbox *s, const char *method,
            const char *target, const char *type);

bool sandbox_create(struct connection *c, struct sandbox *ret);
bool sandbox_kill(struct connection *c, const struct sandbox *s);
/* Runs a program to its end. */
bool sandbox_run(struct connection *c, const struct sandbox *s, char **argv);
/* words: PATH, and SIZE to upload. */
bool sandbox_file(struct connection *c, const struct sandbox *s, char **words, bool put);

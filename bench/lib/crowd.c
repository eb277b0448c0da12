/* SPDX-License-Identifier: Apache-2.0 */
/* Many clients at once, each a thread with a connection of its own. Prints one line per sample as
 * clock does: name, nanoseconds, 1 if it worked.
 *
 * usage: crowd HOST PORT KEY burst N ROUNDS PROGRAM...   each makes a sandbox and runs the program,
 *                  all starting at the same moment; samples "one" (each, from that moment to its
 *                  result) and "all" (the last one's); then they are killed, sample "kill"
 *        crowd HOST PORT KEY cycles N COUNT [PROGRAM...] COUNT sandboxes are made, run the program if
 *                  there is one, and are killed, N at any time; one sample "cycles" for all
 *        crowd HOST PORT KEY hold N COUNT                COUNT are made by N clients; a line "held"
 *                  when they are there, and when standard input ends they are killed */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

enum { CLIENTS_MAX = 1000, IN_SIZE = 64 * 1024, STACK = 512 * 1024 };

struct client {
    pthread_t thread;
    struct connection *connection;
    struct sandbox *sandboxes; /* of hold */
    size_t held;
    struct sandbox sandbox;
    bool ok;
    int64_t end, kill_ns;
};

static struct client clients[CLIENTS_MAX];
static pthread_barrier_t barrier;
static char **program;
static atomic_long left, failed;

static void *burst(void *arg)
{
    struct client *c = arg;
    pthread_barrier_wait(&barrier);
    c->ok = sandbox_create(c->connection, &c->sandbox) &&
            sandbox_run(c->connection, &c->sandbox, program);
    c->end = now();
    pthread_barrier_wait(&barrier);
    int64_t start = now();
    if (c->sandbox.id[0])
        sandbox_kill(c->connection, &c->sandbox);
    c->kill_ns = now() - start;
    return NULL;
}

static void *cycles(void *arg)
{
    struct client *c = arg;
    while (atomic_fetch_sub(&left, 1) > 0) {
        bool ok = sandbox_create(c->connection, &c->sandbox);
        if (ok && *program)
            ok = sandbox_run(c->connection, &c->sandbox, program);
        if (!(ok && sandbox_kill(c->connection, &c->sandbox)))
            atomic_fetch_add(&failed, 1);
    }
    return NULL;
}

static void *make_held(void *arg)
{
    struct client *c = arg;
    while (atomic_fetch_sub(&left, 1) > 0) {
        if (sandbox_create(c->connection, &c->sandboxes[c->held]))
            c->held++;
        else
            atomic_fetch_add(&failed, 1);
    }
    return NULL;
}

static void *kill_held(void *arg)
{
    struct client *c = arg;
    for (size_t i = 0; i < c->held; i++)
        sandbox_kill(c->connection, &c->sandboxes[i]);
    return NULL;
}

static void start(int n, void *(*run)(void *))
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (int i = 0; i < n; i++)
        if (pthread_create(&clients[i].thread, &attributes, run, &clients[i]) != 0)
            die("thread");
    pthread_attr_destroy(&attributes);
}

static void join(int n)
{
    for (int i = 0; i < n; i++)
        pthread_join(clients[i].thread, NULL);
}

static void sample(const char *name, int64_t ns, bool ok)
{
    printf("%s\t%lld\t%d\n", name, (long long)ns, ok);
}

static void one_burst(int n)
{
    char answer[BODY_KEPT];
    /* Connected before: a client keeps its connection. */
    for (int i = 0; i < n; i++) {
        clients[i].sandbox.id[0] = '\0';
        request(clients[i].connection, "GET /health HTTP/1.1\r\n", "", 0, answer);
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)n + 1);
    start(n, burst);
    pthread_barrier_wait(&barrier);
    int64_t begin = now(), last = begin;
    pthread_barrier_wait(&barrier);
    join(n);
    pthread_barrier_destroy(&barrier);
    bool all = true;
    for (int i = 0; i < n; i++) {
        sample("one", clients[i].end - begin, clients[i].ok);
        sample("kill", clients[i].kill_ns, clients[i].ok);
        last = clients[i].end > last ? clients[i].end : last;
        all = all && clients[i].ok;
    }
    sample("all", last - begin, all);
}

static void hold(int n, long count)
{
    char byte;
    for (int i = 0; i < n; i++)
        clients[i].sandboxes = calloc((size_t)count, sizeof *clients[i].sandboxes);
    left = count;
    start(n, make_held);
    join(n);
    printf("held\t%ld\t%d\n", count - failed, failed == 0);
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        continue;
    start(n, kill_held);
    join(n);
}

int main(int argc, char **argv)
{
    int n;
    long count;
    if (argc < 7 || sscanf(argv[5], "%d", &n) != 1 || sscanf(argv[6], "%ld", &count) != 1 ||
        n < 1 || n > CLIENTS_MAX) {
        fprintf(stderr, "usage: crowd HOST PORT KEY burst|cycles|hold N COUNT [PROGRAM...]\n");
        return 2;
    }
    client_open(argv + 1);
    program = argv + 7;
    for (int i = 0; i < n; i++)
        clients[i].connection = connection_new(IN_SIZE);
    if (strcmp(argv[4], "burst") == 0 && *program) {
        for (long round = 0; round < count; round++) {
            one_burst(n);
            sleep(1); /* for the server to refill what it keeps ready */
        }
    } else if (strcmp(argv[4], "cycles") == 0) {
        left = count;
        int64_t begin = now();
        start(n, cycles);
        join(n);
        sample("cycles", now() - begin, failed == 0);
    } else if (strcmp(argv[4], "hold") == 0) {
        hold(n, count);
    } else {
        errno = EINVAL;
        die(argv[4]);
    }
    return 0;
}

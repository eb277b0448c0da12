/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes come and go while launcher, zygote, agents and inits are killed at random moments: what
 * ran lives on, what was ended stays ended, and nothing is left at the end.
 *
 * usage: box-soak INIT CYCLES [SEED]. One cycle is one sandbox made and ended. Needs root. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "harness.h"

enum { PLACES = 20, POOL = 4 };

enum state { NONE, ASKED, RUNS, ENDING };

/* One sandbox at a time, each with a name of its own. */
struct place {
    enum state state;
    char id[32];
    pid_t pid;
    bool marked; /* has its file */
    bool struck; /* its init was killed: it may be gone */
};

struct soak {
    struct harness h;
    struct place places[PLACES];
    unsigned names;
    unsigned made, ended, refused;
    unsigned kills[4];
    unsigned seed;
};

static const char *const victims[] = {"launcher", "zygote", "agent", "init"};

__attribute__((format(printf, 2, 3))) static _Noreturn void fail(const struct soak *s,
                                                                 const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "soak (seed %u, %u made): ", s->seed, s->made);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

static unsigned dice(unsigned sides)
{
    return (unsigned)random() % sides;
}

static struct place *find(struct soak *s, const char *id)
{
    for (int i = 0; i < PLACES; i++)
        if (s->places[i].state != NONE && strcmp(s->places[i].id, id) == 0)
            return &s->places[i];
    return NULL;
}

/* ---- what sandboxes say ---- */

static bool answers(struct soak *s, const struct place *p, const char *line, const char *expected)
{
    /* An agent that was killed is back within milliseconds. */
    for (int i = 0; i < 200; i++) {
        const char *answer = harness_ask(&s->h, p->id, line);
        if (answer && strcmp(answer, expected) == 0)
            return true;
        if (answer && *answer)
            return false;
        poll(NULL, 0, 5);
    }
    return false;
}

static void mark(struct soak *s, struct place *p)
{
    char line[64];
    snprintf(line, sizeof line, "write /mine-%s", p->id);
    if (!answers(s, p, line, "ok\n") && !p->struck)
        fail(s, "%s does not answer", p->id);
    p->marked = true;
}

static void check(struct soak *s, const struct place *p)
{
    char line[64];
    snprintf(line, sizeof line, "stat /mine-%s", p->id);
    if (p->marked && !answers(s, p, line, "uid 0 gid 0 mode 100644\n"))
        fail(s, "%s has lost its file", p->id);
}

/* ---- messages ---- */

static void begin(struct soak *s, struct place *p)
{
    static const struct launcher_limits limits = {64 << 20, 1000, 64, 0};
    *p = (struct place){.state = ASKED};
    snprintf(p->id, sizeof p->id, "s%u", s->names++);
    if (dice(3) == 0)
        harness_send(&s->h, LAUNCHER_CREATE, p->id, "tiny", &limits, "{}");
    else
        harness_send_online(&s->h, LAUNCHER_CREATE, p->id, "tiny", &limits, "{}");
}

static void end(struct soak *s, struct place *p)
{
    p->state = ENDING;
    harness_send(&s->h, LAUNCHER_DESTROY, p->id, NULL, NULL, NULL);
}

static void over(struct soak *s, struct place *p)
{
    p->state = NONE;
    s->ended++;
}

static void take(struct soak *s, const struct launcher_reply *reply)
{
    struct place *p = find(s, reply->id);
    if (!p)
        fail(s, "a message about %s, which is nobody", reply->id);
    if (reply->op == LAUNCHER_GONE) {
        if (!p->struck)
            fail(s, "%s is gone", p->id);
        if (p->state == RUNS)
            over(s, p);
    } else if (reply->op == LAUNCHER_DESTROY) {
        if (reply->code)
            fail(s, "%s not ended: %s", p->id, reply->message);
        over(s, p);
    } else if (reply->code) {
        /* Only for want of a zygote, or because it was ended meanwhile. */
        if (reply->code != ERR_UNAVAILABLE && reply->code != ERR_CANCELED)
            fail(s, "%s not made: %s", p->id, reply->message);
        s->refused++;
        if (p->state == ASKED)
            p->state = NONE;
    } else {
        s->made++;
        p->pid = reply->pid;
        if (p->state == ASKED) {
            p->state = RUNS;
            mark(s, p);
        }
    }
}

/* The next message, or none for a moment. */
static bool listen_for(struct soak *s, int ms)
{
    struct pollfd fd = {.fd = s->h.server, .events = POLLIN};
    struct launcher_reply reply;
    if (poll(&fd, 1, ms) != 1 || !harness_next(&s->h, &reply))
        return false;
    take(s, &reply);
    return true;
}

/* ---- deaths ---- */

/* A new launcher must know all that ran, and nothing that was ended. */
static void reconcile(struct soak *s)
{
    bool listed[PLACES] = {false};
    struct launcher_reply reply;
    uint64_t serial = harness_send(&s->h, LAUNCHER_LIST, "", NULL, NULL, NULL);
    while (harness_reply(&s->h, serial, &reply) && reply.more) {
        struct place *p = find(s, reply.id);
        if (!p)
            fail(s, "%s runs, which was ended", reply.id);
        listed[p - s->places] = true;
        p->pid = reply.pid;
    }
    for (int i = 0; i < PLACES; i++) {
        struct place *p = &s->places[i];
        if (p->state == RUNS && !listed[i] && !p->struck)
            fail(s, "%s was lost", p->id);
        if (p->state != NONE && !listed[i]) {
            over(s, p);
        } else if (p->state != NONE) {
            p->state = RUNS;
            check(s, p);
            mark(s, p);
        }
    }
}

static void kill_launcher(struct soak *s)
{
    harness_kill(&s->h);
    if (!harness_start(&s->h))
        fail(s, "the launcher does not start");
    reconcile(s);
}

static void kill_zygote(struct soak *s)
{
    pid_t zygote = harness_zygote(&s->h);
    if (zygote > 0)
        kill(zygote, SIGKILL);
}

static void kill_somebody(struct soak *s)
{
    struct place *p = &s->places[dice(PLACES)];
    unsigned who = dice(4);
    s->kills[who]++;
    if (who == 0) {
        kill_launcher(s);
    } else if (who == 1) {
        kill_zygote(s);
    } else if (p->state == RUNS && who == 2) {
        harness_ask(&s->h, p->id, "die");
    } else if (p->state == RUNS && who == 3) {
        p->struck = true;
        kill(p->pid, SIGKILL);
    }
}

/* ---- the whole ---- */

static void step(struct soak *s)
{
    struct place *p = &s->places[dice(PLACES)];
    if (p->state == NONE)
        begin(s, p);
    else if (p->state == RUNS && dice(3) == 0)
        end(s, p);
    else if (p->state == ASKED && dice(30) == 0)
        end(s, p);
    else if (p->state == RUNS && !p->struck && dice(8) == 0)
        check(s, p);
    /* Now and then no time passes at all. */
    for (int i = 0; i < 4 && listen_for(s, (int)dice(4)); i++)
        continue;
    if (dice(60) == 0)
        kill_somebody(s);
}

static void finish(struct soak *s)
{
    bool any = true;
    for (int i = 0; i < PLACES; i++)
        if (s->places[i].state == RUNS || s->places[i].state == ASKED)
            end(s, &s->places[i]);
    for (int64_t until = clock_mono_ns() + 20 * CLOCK_S; any && clock_mono_ns() < until;) {
        listen_for(s, 100);
        any = false;
        for (int i = 0; i < PLACES; i++)
            any = any || s->places[i].state != NONE;
    }
    if (any)
        fail(s, "a destruction is not answered");
    if (!harness_clean(&s->h)) {
        struct harness_remains r = harness_remains(&s->h);
        fail(s, "left: directories %u sockets %u cgroups %u mounts %u", r.directories, r.sockets,
             r.cgroups, r.mounts);
    }
}

int main(int argc, char **argv)
{
    static struct soak s;
    uint64_t cycles = 0, seed = (uint64_t)clock_mono_ns() % 1000000;
    if (geteuid() != 0 || argc < 3) {
        puts("1..0 # SKIP needs root and the probe's init as argument");
        return 0;
    }
    if (str_to_u64(str_from(argv[2]), 10000000, &cycles) < 0 ||
        (argc > 3 && str_to_u64(str_from(argv[3]), UINT32_MAX, &seed) < 0))
        return 2;
    s.seed = (unsigned)seed;
    srandom(s.seed);
    harness_open(&s.h, argv[1]);
    s.h.options.net_pool = POOL;
    assert(harness_start(&s.h));
    while (s.ended < cycles || s.made < cycles)
        step(&s);
    finish(&s);
    unsigned kits = harness_kits(&s.h);
    harness_stop(&s.h);
    if (harness_kits(&s.h) != 0)
        fail(&s, "kits are left");
    printf("1..1\nok 1 - %u made, %u refused, all ended; killed:", s.made, s.refused);
    for (size_t i = 0; i < ARRAY_SIZE(victims); i++)
        printf(" %s %u", victims[i], s.kills[i]);
    printf("; kits %u; seed %u\n", kits, s.seed);
    harness_close(&s.h);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How long making and ending sandboxes takes, through the launcher's messages: box-bench INIT
 * [-n COUNT] [-t TEMPLATES NAME] [-i] [-k AT_ONCE]. -i: with internet. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "harness.h"

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *what, int64_t *ns, unsigned n)
{
    qsort(ns, n, sizeof *ns, compare);
    printf("%-24s p50 %6.0f us  p99 %6.0f us  max %6.0f us\n", what, (double)ns[n / 2] / 1e3,
           (double)ns[n * 99 / 100] / 1e3, (double)ns[n - 1] / 1e3);
}

struct options {
    unsigned count, at_once;
    const char *template_name;
    bool internet;
};

static uint64_t ask_create(struct harness *h, const struct options *o, unsigned i)
{
    static const struct launcher_limits limits = {512 << 20, 2000, 512, 0};
    char id[32];
    snprintf(id, sizeof id, "b%u", i);
    return o->internet
               ? harness_send_online(h, LAUNCHER_CREATE, id, o->template_name, &limits, "{}")
               : harness_send(h, LAUNCHER_CREATE, id, o->template_name, &limits, "{}");
}

static void sequential(struct harness *h, const struct options *o)
{
    int64_t *create = xcalloc(o->count, sizeof *create), *ask = xcalloc(o->count, sizeof *ask),
            *destroy = xcalloc(o->count, sizeof *destroy), *all = xcalloc(o->count, sizeof *all);
    for (unsigned i = 0; i < o->count; i++) {
        struct launcher_reply reply;
        char id[32];
        snprintf(id, sizeof id, "b%u", i);
        int64_t t0 = clock_mono_ns();
        if (!harness_reply(h, ask_create(h, o, i), &reply) || reply.code) {
            printf("create %s: %s\n", id, reply.message);
            exit(1);
        }
        int64_t t1 = clock_mono_ns();
        if (!harness_ask(h, id, "echo x"))
            exit(1);
        int64_t t2 = clock_mono_ns();
        harness_call(h, LAUNCHER_DESTROY, id);
        int64_t t3 = clock_mono_ns();
        create[i] = t1 - t0;
        ask[i] = t2 - t0;
        destroy[i] = t3 - t2;
        all[i] = t3 - t0;
    }
    print("create", create, o->count);
    print("create -> agent answers", ask, o->count);
    print("destroy", destroy, o->count);
    print("create -> destroyed", all, o->count);
}

/* at_once sandboxes are always under way; each is destroyed as soon as it is there. */
static void concurrent(struct harness *h, const struct options *o)
{
    unsigned asked = 0, ended = 0;
    int64_t t0 = clock_mono_ns();
    struct launcher_reply reply;
    while (asked < o->at_once && asked < o->count)
        ask_create(h, o, asked++);
    while (ended < o->count && harness_next(h, &reply)) {
        if (reply.code) {
            printf("%s: %s\n", reply.id, reply.message);
            exit(1);
        }
        if (reply.op == LAUNCHER_CREATE) {
            harness_send(h, LAUNCHER_DESTROY, reply.id, NULL, NULL, NULL);
        } else if (reply.op == LAUNCHER_DESTROY) {
            ended++;
            if (asked < o->count)
                ask_create(h, o, asked++);
        }
    }
    printf("%u at once: %.0f life cycles/s\n", o->at_once,
           o->count / ((double)(clock_mono_ns() - t0) / 1e9));
}

int main(int argc, char **argv)
{
    static struct harness h;
    struct options o = {.count = 200, .template_name = "tiny"};
    uint64_t number;
    if (argc < 2)
        return 2;
    harness_open(&h, argv[1]);
    for (int i = 2; i < argc; i++) {
        if (str_eqz(STR("-i"), argv[i]))
            o.internet = true;
        else if (i + 1 < argc && str_eqz(STR("-n"), argv[i]) &&
                 str_to_u64(str_from(argv[++i]), 1000000, &number) == 0)
            o.count = (unsigned)number;
        else if (i + 1 < argc && str_eqz(STR("-k"), argv[i]) &&
                 str_to_u64(str_from(argv[++i]), 1000, &number) == 0)
            o.at_once = (unsigned)number;
        else if (i + 2 < argc && str_eqz(STR("-t"), argv[i])) {
            h.options.templates_dir = argv[i + 1];
            o.template_name = argv[i + 2];
            i += 2;
        }
    }
    if (!harness_start(&h))
        return 1;
    if (o.at_once)
        concurrent(&h, &o);
    else
        sequential(&h, &o);
    int64_t t0 = clock_mono_ns();
    bool clean = harness_clean(&h);
    printf("clean: %s after %.1f ms\n", clean ? "yes" : "NO", (double)(clock_mono_ns() - t0) / 1e6);
    harness_close(&h);
    return !clean;
}

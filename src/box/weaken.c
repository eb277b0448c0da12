/* SPDX-License-Identifier: Apache-2.0 */
/* Taking walls down, see weaken.h. */
#include "box/weaken.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "box/ns/nft.h"
#include "box/plan.h"

static const struct {
    const char *name;
    unsigned bit;
} names[] = {{"seccomp", BOX_WEAKEN_SECCOMP},     {"caps", BOX_WEAKEN_CAPS},
             {"userns", BOX_WEAKEN_USERNS},       {"netpolicy", BOX_WEAKEN_NETPOLICY},
             {"proc-mask", BOX_WEAKEN_PROC_MASK}, {"pids", BOX_WEAKEN_PIDS},
             {"memory", BOX_WEAKEN_MEMORY},       {"cpu", BOX_WEAKEN_CPU},
             {"disk", BOX_WEAKEN_DISK}};

int box_weaken_parse(const char *list, unsigned *ret, struct err *err)
{
    struct str rest = str_from(list), word;
    unsigned bits = 0;
    while (str_split(&rest, ',', &word)) {
        unsigned bit = 0;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            if (str_eqz(word, names[i].name))
                bit = names[i].bit;
        if (!bit)
            return err_set(err, ERR_INVALID, 0, "there is no wall named \"%.*s\"", STR_ARG(word));
        bits |= bit;
    }
    *ret = bits;
    return 0;
}

static void unmask(struct box_inside *in)
{
    static const char proc[] = BOX_ROOT "/proc/";
    uint32_t kept = 0;
    for (uint32_t i = 0; i < in->mount_count; i++)
        if (in->mounts[i].kind != BOX_MOUNT_BIND ||
            strncmp(in->mounts[i].target, proc, sizeof proc - 1) != 0)
            in->mounts[kept++] = in->mounts[i];
    in->mount_count = kept;
}

/* The chains that decide; address translation stays, so that answers come back. */
static int open_network(unsigned instance, struct err *err)
{
    static const char *const chains[] = {"entry", "input", "forward", "output"};
    char text[256];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "flush chain inet carrel%u %s\n", instance,
                              chains[i]);
    return nft_load(text, n, err);
}

int box_weaken_plan(unsigned weaken, struct box_plan *plan, struct err *err)
{
    if (weaken & BOX_WEAKEN_CAPS)
        plan->inside.capabilities = ~UINT64_C(0);
    if (weaken & BOX_WEAKEN_USERNS)
        plan->inside.uid_base = 0;
    if (weaken & BOX_WEAKEN_PROC_MASK)
        unmask(&plan->inside);
    if (weaken & BOX_WEAKEN_PIDS)
        plan->limits.pids = 0;
    if (weaken & BOX_WEAKEN_MEMORY)
        plan->limits.memory_bytes = 0;
    if (weaken & BOX_WEAKEN_CPU)
        plan->limits.cpu_millis = 0;
    if (weaken & BOX_WEAKEN_DISK)
        plan->limits.disk_bytes = 0;
    return weaken & BOX_WEAKEN_NETPOLICY ? open_network(plan->instance, err) : 0;
}

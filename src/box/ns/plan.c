/* SPDX-License-Identifier: Apache-2.0 */
/* Computes the plan of a namespaces sandbox. Makes no system call that changes anything. */
#include "box/plan.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/random.h"
#include "box/ns/caps.h"

static bool name_valid(const char *name, size_t max, const char *extra)
{
    size_t n = 0;
    for (; name[n]; n++) {
        char c = name[n];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr(extra, c);
        if (!good || n >= max)
            return false;
    }
    return n > 0;
}

bool box_id_valid(const char *id)
{
    return name_valid(id, BOX_ID_MAX, "");
}

bool box_template_valid(const char *name)
{
    return name[0] != '.' && name_valid(name, BOX_TEMPLATE_MAX, "._-");
}

uint32_t box_uid_base(unsigned instance, unsigned slot)
{
    return BOX_UID_FIRST + (instance * BOX_SLOTS + slot) * (uint32_t)BOX_UIDS;
}

__attribute__((format(printf, 3, 4))) static bool put(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out, size, fmt, args);
    va_end(args);
    return n >= 0 && (size_t)n < size;
}
#define PUT(array, ...) put((array), sizeof(array), __VA_ARGS__)

static struct box_mount *add(struct box_inside *in, enum box_mount_kind kind, const char *target,
                             uint64_t flags)
{
    assert(in->mount_count < BOX_MOUNTS_MAX);
    struct box_mount *m = &in->mounts[in->mount_count++];
    m->kind = kind;
    m->flags = flags;
    bool fits = PUT(m->target, "%s", target);
    assert(fits);
    return m;
}

static void add_attach(struct box_inside *in, enum box_handle handle, const char *target)
{
    add(in, BOX_MOUNT_ATTACH, target, 0)->handle = handle;
}

static struct box_mount *add_new(struct box_inside *in, const char *type, const char *target,
                                 uint64_t flags)
{
    struct box_mount *m = add(in, BOX_MOUNT_NEW, target, flags);
    PUT(m->type, "%s", type);
    return m;
}

static void add_bind(struct box_inside *in, const char *source, const char *target, uint64_t flags)
{
    PUT(add(in, BOX_MOUNT_BIND, target, flags)->source, "%s", source);
}

/* index and nfs_export let the host watch the whole sandbox with one fanotify mark; volatile
 * leaves out syncing the upper file system, which only a crash of the host itself can tell. */
#define OVERLAY_OPTIONS                          \
    "upperdir=/state/upper,workdir=/state/work," \
    "redirect_dir=on,index=on,nfs_export=on,volatile"

/* The layers below the sandbox's own: its snapshots, host layer, template. */
static void plan_lower(const struct box_plan *plan, struct box_inside *in)
{
    char target[16], lower[128];
    size_t used = 0;
    lower[0] = '\0';
    for (size_t i = 0; i < plan->chain.count; i++) {
        unsigned handle = (unsigned)(plan->chain.count - 1 - i);
        PUT(target, "/lower/%u", handle);
        add_attach(in, BOX_HANDLE_BASE + handle, target);
        used += (size_t)snprintf(lower + used, sizeof lower - used, "%s%s", used ? ":" : "", target);
    }
    if (!plan->chain.whole) {
        add_attach(in, BOX_HANDLE_TEMPLATE, "/lower/template");
        add_attach(in, BOX_HANDLE_LAYER, "/lower/host");
        snprintf(lower + used, sizeof lower - used, "%s/lower/host:/lower/template",
                 used ? ":" : "");
    }
    add_attach(in, BOX_HANDLE_STATE, "/state");
    PUT(add_new(in, "overlay", BOX_ROOT, MS_NODEV)->options, "lowerdir=%s,%s", lower,
        OVERLAY_OPTIONS);
}

/* The kernel's is the host's, and the same after a cold start. */
#define BOOT_ID BOX_ROOT "/proc/sys/kernel/random/boot_id"

static void plan_boot_id(struct box_inside *in)
{
    struct box_mount *m =
        add(in, BOX_MOUNT_FILE, BOOT_ID, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    PUT(m->source, BOX_ROOT "/dev/shm/.boot_id");
    PUT(m->options, "00000000-0000-4000-8000-000000000000");
}

void box_plan_boot(struct box_plan *plan)
{
    unsigned char r[16];
    random_bytes(r, sizeof r);
    for (uint32_t i = 0; i < plan->inside.mount_count; i++) {
        struct box_mount *m = &plan->inside.mounts[i];
        if (strcmp(m->target, BOOT_ID) == 0)
            PUT(m->options,
                "%02x%02x%02x%02x-%02x%02x-4%01x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
                r[2], r[3], r[4], r[5], r[6] & 0x0f, r[7], (r[8] & 0x3f) | 0x80, r[9], r[10], r[11],
                r[12], r[13], r[14], r[15]);
    }
}

static void plan_mounts(const struct box_layout *layout, const struct box_plan *plan,
                        struct box_inside *in)
{
    plan_lower(plan, in);
    add_new(in, "proc", BOX_ROOT "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
    add_bind(in, BOX_ROOT "/proc/sys", BOX_ROOT "/proc/sys",
             MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    for (const char *const *mask = layout->proc_masks; mask && *mask; mask++) {
        char target[sizeof in->mounts[0].target];
        bool directory = (*mask)[strlen(*mask) - 1] == '/';
        if (PUT(target, BOX_ROOT "/proc/%s", *mask)) /* /dev/pts of the zygote's /dev is empty */
            add_bind(in, directory ? "/dev/pts" : "/dev/null", target,
                     MS_RDONLY | MS_NOSUID | MS_NOEXEC);
    }
    add_bind(in, "/dev", BOX_ROOT "/dev", MS_RDONLY | MS_NOSUID | MS_NOEXEC);
    struct box_mount *pts = add_new(in, "devpts", BOX_ROOT "/dev/pts", MS_NOSUID | MS_NOEXEC);
    PUT(pts->options, "newinstance,ptmxmode=0666,mode=0620,gid=%" PRIu32, in->uid_base + 5);
    struct box_mount *shm = add_new(in, "tmpfs", BOX_ROOT "/dev/shm", MS_NOSUID | MS_NODEV);
    /* Half of the memory, as Linux does by default; it is charged to the sandbox anyway. */
    uint64_t bytes = plan->limits.memory_bytes ? plan->limits.memory_bytes / 2 : 64 << 20;
    PUT(shm->options, "size=%" PRIu64 ",mode=1777,uid=%" PRIu32 ",gid=%" PRIu32, bytes,
        in->uid_base, in->uid_base);
    plan_boot_id(in);
}

static void plan_inside(const struct box_layout *layout, struct box_plan *plan)
{
    struct box_inside *in = &plan->inside;
    in->version = BOX_INSIDE_VERSION;
    PUT(in->hostname, "%s", plan->id);
    in->uid_base = box_uid_base(plan->instance, plan->slot);
    in->nofile_hard = layout->nofile_max < 1048576 ? layout->nofile_max : 1048576;
    in->nofile_soft = in->nofile_hard < 65536 ? in->nofile_hard : 65536;
    in->oom_adj = -15;
    in->capabilities = CAPS_BOUNDING;
    plan_mounts(layout, plan, in);
}

int box_plan_make(const struct box_layout *layout, const struct box_spec *spec, unsigned slot,
                  struct box_plan *ret, struct err *err)
{
    if (!box_id_valid(spec->id))
        return err_set(err, ERR_INVALID, 0, "sandbox id must match [a-z0-9]{1,%d}", BOX_ID_MAX);
    if (!box_template_valid(spec->template_name))
        return err_set(err, ERR_INVALID, 0, "template name must match [a-z0-9._-]{1,%d}",
                       BOX_TEMPLATE_MAX);
    assert(layout->instance < BOX_INSTANCES && slot < BOX_SLOTS);
    struct box_plan *plan = ret;
    memset(plan, 0, sizeof *plan);
    plan->instance = layout->instance;
    plan->slot = slot;
    plan->limits = spec->limits;
    plan->allow_internet = spec->allow_internet;
    plan->again = spec->again;
    bool fits =
        PUT(plan->id, "%s", spec->id) && PUT(plan->template_name, "%s", spec->template_name);
    fits =
        fits && PUT(plan->template_dir, "%s/%s/rootfs", layout->templates_dir, spec->template_name);
    fits = fits && PUT(plan->layer_dir, "%s/layers/%s", layout->state_dir, spec->template_name);
    fits = fits && PUT(plan->sandbox_dir, "%s/sandboxes/%s", layout->state_dir, spec->id);
    fits = fits && PUT(plan->files_dir, "%s/disk/files/%s", layout->state_dir, spec->id);
    fits = fits && PUT(plan->disk, "%s", layout->disk_name);
    fits = fits && PUT(plan->run_dir, "%s/%s", layout->run_dir, spec->id);
    fits = fits && PUT(plan->cgroup, "%s-%u/%s", layout->cgroup_parent, layout->instance, spec->id);
    if (!fits)
        return err_set(err, ERR_INVALID, ENAMETOOLONG, "paths of sandbox %s", spec->id);
    plan_inside(layout, plan);
    return 0;
}

void box_plan_stack(const struct box_layout *layout, struct box_plan *plan,
                    const struct box_chain *chain)
{
    plan->chain = *chain;
    box_plan_move(layout, plan, plan->slot);
}

void box_plan_move(const struct box_layout *layout, struct box_plan *plan, unsigned slot)
{
    assert(slot < BOX_SLOTS);
    uint32_t config_len = plan->inside.config_len;
    plan->slot = slot;
    memset(&plan->inside, 0, sizeof plan->inside);
    plan_inside(layout, plan);
    plan->inside.config_len = config_len;
}

const char *const *box_proc_masks(void)
{
    /* pressure: anybody may set triggers there, on the whole host's load. A slash: a directory. */
    static const char *const candidates[] = {
        "kallsyms",    "kcore",         "keys",          "cmdline",  "timer_list",
        "sched_debug", "sysrq-trigger", "latency_stats", "iomem",    "vmallocinfo",
        "slabinfo",    "pagetypeinfo",  "modules",       "pressure/"};
    static const char *found[ARRAY_SIZE(candidates) + 1];
    static bool ready;
    size_t n = 0;
    for (size_t i = 0; !ready && i < ARRAY_SIZE(candidates); i++) {
        char path[64];
        struct stat st;
        PUT(path, "/proc/%s", candidates[i]);
        if (stat(path, &st) == 0 && (st.st_mode & 07))
            found[n++] = candidates[i];
    }
    ready = true;
    return found;
}

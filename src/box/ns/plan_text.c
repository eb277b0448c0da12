/* SPDX-License-Identifier: Apache-2.0 */
/* The plan for people to read and for programs: one description, two forms. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mount.h>

#include "base/json_text.h"
#include "base/mem.h"
#include "box/plan.h"

/* What is done with the plan, in order; failures name these. "mounts" stands for the plan's mounts,
 * each a step of its own. */
static const struct {
    const char *who;
    const char *step;
} steps[] = {
    /* box/ns/kit.c, in advance as far as there are kits */
    {"kit", "directory"},
    {"kit", "files"},
    {"kit", "socket"},
    {"kit", "user namespace"},
    {"kit", "network"},
    {"kit", "cgroups"},
    /* box/ns/create.c */
    {"launcher", "place directory"},
    {"launcher", "place files"},
    {"launcher", "place socket"},
    {"launcher", "network policy"},
    {"launcher", "cgroups"},
    {"launcher", "mounts"},
    {"launcher", "zygote"},
    /* box/ns/inside.c */
    {"inside", "join cgroups"},
    {"inside", "network namespace"},
    {"inside", "host name"},
    {"inside", "file system ids"},
    {"inside", "mounts"},
    {"inside", "out-of-memory score"},
    {"inside", "change root"},
    {"inside", "close descriptors"},
    {"inside", "limits"},
    {"inside", "session"},
    {"inside", "user namespace"},
    {"inside", "capability bounding set"},
    {"inside", "system call filter"},
    {"inside", "capabilities"},
    {"inside", "not dumpable"},
};

/* "key value" a line, or members of an object; the first failure stays. */
struct text {
    struct buf *out;
    bool json;
    bool first; /* in the present object or array */
    int rc;
};

static void note(struct text *t, int rc)
{
    if (t->rc >= 0 && rc < 0)
        t->rc = rc;
}

static void put(struct text *t, const char *raw)
{
    note(t, buf_append_z(t->out, raw));
}

static void comma(struct text *t)
{
    if (!t->first)
        put(t, ",");
    t->first = false;
}

/* "sandbox-dir" is sandboxDir in JSON. */
static void key(struct text *t, const char *name)
{
    char camel[64];
    size_t n = 0;
    if (!t->json) {
        put(t, name);
        put(t, " ");
        return;
    }
    for (const char *c = name; *c && n + 1 < sizeof camel; c++) {
        if (*c == '-' && c[1])
            camel[n++] = (char)(*++c - 'a' + 'A');
        else
            camel[n++] = *c;
    }
    comma(t);
    note(t, json_text_append(t->out, (struct str){camel, n}));
    put(t, ":");
}

static void value(struct text *t, const char *text)
{
    if (t->json)
        note(t, json_text_append(t->out, str_from(text)));
    else
        put(t, text);
}

static void end_line(struct text *t)
{
    if (!t->json)
        put(t, "\n");
}

static void field(struct text *t, const char *name, const char *text)
{
    key(t, name);
    value(t, text);
    end_line(t);
}

static void number(struct text *t, const char *name, uint64_t n)
{
    key(t, name);
    note(t, buf_printf(t->out, "%" PRIu64, n));
    end_line(t);
}

static void yes_no(struct text *t, const char *name, bool on)
{
    key(t, name);
    put(t, t->json ? (on ? "true" : "false") : (on ? "yes" : "no"));
    end_line(t);
}

static void open_list(struct text *t, const char *name, const char *bracket)
{
    if (t->json) {
        key(t, name);
        put(t, bracket);
        t->first = true;
    }
}

static void close_list(struct text *t, const char *bracket)
{
    if (t->json)
        put(t, bracket);
    t->first = false;
}

/* ---- parts ---- */

static void put_numbers(struct text *t, const struct box_plan *plan)
{
    const struct box_inside *in = &plan->inside;
    char capabilities[24];
    snprintf(capabilities, sizeof capabilities, "%016" PRIx64, in->capabilities);
    number(t, "memory", plan->limits.memory_bytes);
    number(t, "cpu-millis", plan->limits.cpu_millis);
    number(t, "pids", plan->limits.pids);
    number(t, "disk", plan->limits.disk_bytes);
    yes_no(t, "internet", plan->allow_internet);
    field(t, "hostname", in->hostname);
    if (t->json) {
        number(t, "nofile-soft", in->nofile_soft);
        number(t, "nofile-hard", in->nofile_hard);
        key(t, "oom-adj");
        note(t, buf_printf(t->out, "%d", in->oom_adj));
    } else {
        note(t, buf_printf(t->out, "nofile %u %u\noom-adj %d\n", in->nofile_soft, in->nofile_hard,
                           in->oom_adj));
    }
    field(t, "capabilities", capabilities);
}

static const struct {
    uint64_t flag;
    const char *name;
} flag_names[] = {
    {MS_RDONLY, "ro"}, {MS_NOSUID, "nosuid"}, {MS_NODEV, "nodev"}, {MS_NOEXEC, "noexec"}};

static void put_flags(struct text *t, uint64_t flags)
{
    open_list(t, "flags", "[");
    for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++) {
        if (!(flags & flag_names[i].flag))
            continue;
        if (t->json)
            comma(t);
        else
            put(t, " ");
        value(t, flag_names[i].name);
    }
    close_list(t, "]");
}

static void put_mount(struct text *t, const struct box_mount *m)
{
    static const char *const handles[BOX_HANDLES] = {[BOX_HANDLE_TEMPLATE] = "template",
                                                     [BOX_HANDLE_LAYER] = "layer",
                                                     [BOX_HANDLE_STATE] = "state"};
    static const char *const kinds[] = {
        [BOX_MOUNT_ATTACH] = "attach", [BOX_MOUNT_NEW] = "new", [BOX_MOUNT_BIND] = "bind",
        [BOX_MOUNT_FILE] = "file"};
    bool is_base = m->handle >= BOX_HANDLE_BASE && m->handle < BOX_HANDLE_BASE + BOX_LAYERS_MAX;
    const char *what = m->kind == BOX_MOUNT_ATTACH ? (is_base ? "snapshot" : handles[m->handle])
                       : m->kind == BOX_MOUNT_NEW  ? m->type
                                                   : m->source;
    if (t->json) {
        comma(t);
        put(t, "{");
        t->first = true;
        field(t, "kind", kinds[m->kind]);
        field(t, "what", what);
        field(t, "target", m->target);
        put_flags(t, m->flags);
        field(t, "options", m->options);
        close_list(t, "}");
        return;
    }
    note(t, buf_printf(t->out, "mount %s %s %s", kinds[m->kind], what, m->target));
    put_flags(t, m->flags);
    if (m->options[0])
        note(t, buf_printf(t->out, " %s", m->options));
    end_line(t);
}

static void put_steps(struct text *t)
{
    open_list(t, "steps", "[");
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (t->json) {
            char both[80];
            comma(t);
            snprintf(both, sizeof both, "%s: %s", steps[i].who, steps[i].step);
            value(t, both);
        } else {
            note(t, buf_printf(t->out, "step %s: %s\n", steps[i].who, steps[i].step));
        }
    }
    close_list(t, "]");
}

static int print(const struct box_plan *plan, struct buf *out, bool json)
{
    struct text t = {.out = out, .json = json, .first = true};
    char uids[32], socket[BOX_PATH_MAX + 16];
    snprintf(uids, sizeof uids, "%" PRIu32 "+%d", plan->inside.uid_base, BOX_UIDS);
    snprintf(socket, sizeof socket, "%s/agent.sock", plan->run_dir);
    if (json)
        put(&t, "{");
    field(&t, "id", plan->id);
    field(&t, "template", plan->template_name);
    number(&t, "instance", plan->instance);
    number(&t, "slot", plan->slot);
    field(&t, "uids", uids);
    field(&t, json ? "layer" : "lower", plan->layer_dir);
    field(&t, "lower", plan->template_dir);
    field(&t, "sandbox-dir", plan->sandbox_dir);
    field(&t, "files-dir", plan->files_dir);
    field(&t, "disk-limit-by", plan->disk[0] ? plan->disk : "none");
    field(&t, "socket", socket);
    field(&t, "cgroup", plan->cgroup);
    put_numbers(&t, plan);
    open_list(&t, "mounts", "[");
    for (uint32_t i = 0; i < plan->inside.mount_count; i++)
        put_mount(&t, &plan->inside.mounts[i]);
    close_list(&t, "]");
    put_steps(&t);
    if (json)
        put(&t, "}\n");
    return t.rc;
}

int box_plan_print(const struct box_plan *plan, struct buf *out)
{
    return print(plan, out, false);
}

int box_plan_print_json(const struct box_plan *plan, struct buf *out)
{
    return print(plan, out, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Making a sandbox, the launcher's half: what the plan needs of the host is made step by step,
 * then the zygote is asked. Whatever fails, the same removal as for a dead sandbox undoes it all;
 * it takes any half-made state. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"
#include "box/remove.h"
#include "box/weaken.h"

struct making {
    struct box_host *host;
    struct box *box;
    struct kit *kit; /* NULL: it is being made */
    struct box_plan *plan;
    struct box_network *network; /* NULL: no restrictions */
    char *config;
    int files; /* the sandbox's directory of files */
    int handles[BOX_HANDLES];
};

/* One that was parked has its directories. */
static int open_directory(struct making *m, struct err *err)
{
    m->box->dir_fd = openat(m->host->sandboxes_fd, m->plan->id,
                            O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (m->box->dir_fd < 0)
        return err_os(err, errno, "open sandboxes/%s", m->plan->id);
    return 0;
}

/* What the overlay had under way when its processes were ended goes; its mark that nobody may use the
 * directory again after a crash is in there, too. */
static int open_files(struct making *m, struct err *err)
{
    m->files =
        openat(m->host->files_fd, m->plan->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (m->files < 0)
        return err_os(err, errno, "open the files of %s", m->plan->id);
    int rc = remove_tree(m->files, "work/work");
    return rc < 0 ? err_os(err, -rc, "clear the work directory") : 0;
}

static int place_directory(struct making *m, struct err *err)
{
    if (m->plan->again)
        return open_directory(m, err);
    return kit_place_directory(m->kit, m->plan->id, &m->box->dir_fd, err);
}

static int place_files(struct making *m, struct err *err)
{
    int rc = m->plan->again ? open_files(m, err)
                            : kit_place_files(m->kit, m->plan->id, &m->files, err);
    if (rc < 0)
        return rc;
    rc = disk_limit(m->host->disk, m->files, m->plan->limits.disk_bytes);
    return rc < 0 ? err_os(err, -rc, "limit the disk by %s", disk_name(m->host->disk)) : 0;
}

static int place_socket(struct making *m, struct err *err)
{
    m->handles[BOX_HANDLE_LISTEN] = TAKE_FD(m->kit->sock);
    return kit_place_socket(m->kit, m->plan->id, err);
}

static int place_cgroups(struct making *m, struct err *err)
{
    struct cgroup_fds fds;
    int rc = kit_place_groups(m->kit, m->plan->id, &m->plan->limits, &fds, err);
    if (rc < 0)
        return rc;
    m->handles[BOX_HANDLE_MEMORY] = fds.memory;
    m->handles[BOX_HANDLE_CPU] = fds.cpu;
    m->handles[BOX_HANDLE_OOM] = fds.oom;
    m->handles[BOX_HANDLE_PIDS] = fds.pids;
    m->handles[BOX_HANDLE_LEAVE] = fds.leave;
    m->handles[BOX_HANDLE_CGROUP] = fds.directory;
    for (size_t i = 0; i < BOX_JOINS; i++) {
        m->handles[BOX_HANDLE_JOIN + i] = fds.join[i];
        m->handles[BOX_HANDLE_RESCUE + i] = fds.rescue[i];
    }
    for (size_t i = 0; i < BOX_TASKS; i++)
        m->handles[BOX_HANDLE_TASKS + i] = fds.tasks[i];
    return 0;
}

static int begin_network(struct making *m, struct err *err)
{
    return network_begin(m->host, m->box, m->network, err);
}

static int make_mounts(struct making *m, struct err *err)
{
    int userns;
    int rc = uidslots_userns(m->host->slots, m->plan->slot, &userns, err);
    if (rc < 0)
        return rc;
    m->handles[BOX_HANDLE_USERNS] = userns;
    rc = mounts_chain(m->host, m->plan, userns, &m->handles[BOX_HANDLE_BASE], err);
    if (rc == 0 && !m->plan->chain.whole)
        rc = mounts_template(m->host, m->plan, userns, &m->handles[BOX_HANDLE_TEMPLATE],
                             &m->handles[BOX_HANDLE_LAYER], err);
    if (rc < 0)
        return rc;
    return mounts_files(m->files, userns, &m->handles[BOX_HANDLE_STATE], err);
}

static int ask_zygote(struct making *m, struct err *err)
{
    int status[2];
    if (pipe2(status, O_CLOEXEC) < 0)
        return err_os(err, errno, "status pipe");
    m->box->status_fd = status[0];
    m->handles[BOX_HANDLE_STATUS] = status[1];
    m->box->status_watch = (struct watch){WATCH_STATUS, m->box};
    int rc = host_watch(m->host, status[0], &m->box->status_watch, err);
    if (rc == 0)
        rc = host_need_zygote(m->host, err);
    if (rc < 0)
        return rc;
    m->box->serial = ++m->host->last_serial;
    m->plan->inside.serial = m->box->serial;
    return zygote_ask(&m->host->zygote, &m->plan->inside, m->handles, m->config, err);
}

static const struct {
    const char *name;
    int (*run)(struct making *m, struct err *err);
} steps[] = {
    {"place directory", place_directory},
    {"place files", place_files},
    {"place socket", place_socket},
    {"network policy", begin_network},
    {"cgroups", place_cgroups},
    {"mounts", make_mounts},
    {"zygote", ask_zygote},
};

static int run_steps(struct making *m, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int rc = steps[i].run(m, err);
        if (rc == 0 && host_fails(m->host, "launcher", steps[i].name))
            rc = err_set(err, ERR_INTERNAL, EIO, "told to fail");
        if (rc < 0) {
            err_wrap(err, steps[i].name);
            return rc;
        }
    }
    return 0;
}

static int check_new(struct box_host *host, const struct box_spec *spec, struct err *err)
{
    for (struct box *box = host->boxes; box; box = box->next)
        if (strcmp(box->id, spec->id) == 0 && !(spec->again && box->state == BOX_PARKED))
            return err_set(err, ERR_EXISTS, 0, "sandbox %s exists%s", spec->id,
                           box->state == BOX_REMOVING || box->state == BOX_PARKING ? " still" : "");
    return 0;
}

int box_host_plan(struct box_host *host, const struct box_spec *spec, struct box_plan *ret,
                  struct err *err)
{
    unsigned slot = 0;
    if (spec->allow_internet && host->kits) {
        slot = host->kits->slot;
    } else {
        int free_slot = uidslots_take(host->slots);
        if (free_slot >= 0) {
            slot = (unsigned)free_slot;
            uidslots_release(host->slots, slot);
        }
    }
    return box_plan_make(&host->layout, spec, slot, ret, err);
}

static void keep_limits(struct box_record *record, const struct box_plan *plan)
{
    record->limits = plan->limits;
    record->allow_internet = plan->allow_internet;
    snprintf(record->template_name, sizeof record->template_name, "%s", plan->template_name);
    if (plan->chain.count > 0)
        snprintf(record->base, sizeof record->base, "%s", plan->chain.ids[0]);
}

/* ---- what it stands on ---- */

/* A template that was built anew is another one: what was changed relative to the old does not fit. */
static int check_rootfs(struct box_host *host, struct box_record *record, const char *expected,
                        struct err *err)
{
    int rc = mounts_rootfs(host, record->template_name, record->rootfs, err);
    if (rc < 0)
        return rc;
    if (*expected && strcmp(expected, record->rootfs) != 0)
        return err_set(err, ERR_PRECONDITION, 0,
                       "the template %s was built anew since: this stands on the old one",
                       record->template_name);
    return 0;
}

/* Fills in which layers are below; *ret_old is the parked sandbox whose place the new one takes. */
static int find_base(struct box_host *host, const struct box_spec *spec, struct box_plan *plan,
                     struct box_record *ret, struct box **ret_old, struct err *err)
{
    const char *base = spec->base ? spec->base : "", *rootfs = "";
    struct box *old = spec->again ? box_host_find(host, spec->id) : NULL;
    struct box_chain chain;
    if (spec->again && (!old || old->state != BOX_PARKED))
        return err_set(err, ERR_NOT_FOUND, 0, "sandbox %s is not parked", spec->id);
    if (old) {
        base = old->record.base;
        rootfs = old->record.rootfs;
    } else if (*base) {
        const struct snapshot *snapshot = layers_find(&host->snapshots, base);
        if (!snapshot || snapshot->doomed)
            return err_set(err, ERR_NOT_FOUND, 0, "snapshot %s does not exist", base);
    }
    int rc = layers_chain(&host->snapshots, base, &chain, err);
    if (rc < 0)
        return rc;
    if (chain.count > 0) {
        rootfs = chain.rootfs;
        if (strcmp(chain.template_name, spec->template_name) != 0)
            return err_set(err, ERR_INVALID, 0, "snapshot %s is not of template %s", base,
                           spec->template_name);
        box_plan_stack(&host->layout, plan, &chain);
    }
    keep_limits(ret, plan);
    snprintf(ret->rootfs, sizeof ret->rootfs, "%s", rootfs);
    *ret_old = old;
    return chain.whole ? 0 : check_rootfs(host, ret, rootfs, err);
}


static void making_free(struct making *m)
{
    fd_closep(&m->files);
    free(m->plan);
    free(m->network);
    free(m->config);
    free(m);
}

/* With a kit there is nothing to wait for any more: everything up to the question to the zygote. */
static int carry_out(struct making *m, struct kit *kit, struct err *err)
{
    struct box_host *host = m->host;
    struct box *box = m->box;
    m->kit = kit;
    box->slot = box->record.slot = kit->slot;
    box_plan_move(&host->layout, m->plan, kit->slot);
    box_plan_boot(m->plan);
    if (host->options.fail_step && strncmp(host->options.fail_step, "inside: ", 8) == 0)
        snprintf(m->plan->inside.fail_step, sizeof m->plan->inside.fail_step, "%s",
                 host->options.fail_step + 8);
    if (host->options.tamper)
        host->options.tamper(m->plan);
    int weakened = box_weaken_plan(host->options.weaken, m->plan, err);
    m->handles[BOX_HANDLE_NETNS] = TAKE_FD(kit->netns);
    int rc = weakened < 0 ? weakened : run_steps(m, err);
    m->handles[BOX_HANDLE_USERNS] = -1; /* the slot's */
    for (size_t i = 0; i < BOX_HANDLES; i++)
        fd_closep(&m->handles[i]);
    if (rc < 0 || m->plan->again) /* used in part */
        kit_discard(kit, false);
    else
        free(kit);
    return rc;
}

void making_continue(struct making *m, struct kit *kit)
{
    struct box_host *host = m->host;
    struct box *box = m->box;
    box->making = NULL;
    int rc = 0;
    if (kit->err.code != ERR_OK || box->state == BOX_ENDING) {
        box->failure = kit->err;
        kit_discard(kit, true);
        rc = -ECANCELED;
    } else {
        rc = carry_out(m, kit, &box->failure);
    }
    making_free(m);
    if (host->closing)
        host_free_box(host, box);
    else if (rc < 0)
        host_box_over(host, box);
}

static struct making *making_new(struct box_host *host, const struct box_spec *spec,
                                 struct box_plan *plan, const struct box_record *record,
                                 const char *config, size_t config_len)
{
    struct box *box = host_new_box(host, plan->id, BOX_NO_SLOT);
    box->state = BOX_STARTING;
    box->record = *record;
    box->parking = spec->again; /* until it runs: its files stay, whatever happens */
    host->starting++;
    struct making *m = xcalloc(1, sizeof *m);
    m->host = host;
    m->box = box;
    m->plan = plan;
    m->files = -1;
    if (box_network_restricts(spec->network)) {
        m->network = xmalloc(sizeof *m->network);
        *m->network = *spec->network;
    }
    m->config = xmalloc(config_len + 1);
    memcpy(m->config, config, config_len);
    plan->inside.config_len = (uint32_t)config_len;
    for (size_t i = 0; i < BOX_HANDLES; i++)
        m->handles[i] = -1;
    box->making = m;
    return m;
}

int box_create(struct box_host *host, const struct box_spec *spec, const char *config,
               size_t config_len, void *owner, struct box **ret, struct err *err)
{
    if (config_len > BOX_CONFIG_MAX)
        return err_set(err, ERR_TOO_LARGE, 0, "configuration of sandbox %s", spec->id);
    _cleanup_free_ struct box_plan *plan = xmalloc(sizeof *plan);
    int rc = box_plan_make(&host->layout, spec, 0, plan, err);
    struct box_record record = {0};
    struct box *old = NULL;
    if (rc == 0)
        rc = check_new(host, spec, err);
    if (rc == 0)
        rc = guard_admit(host, err);
    if (rc == 0)
        rc = find_base(host, spec, plan, &record, &old, err);
    if (rc < 0)
        return rc;
    if (old)
        host_free_box(host, old);
    struct making *m = making_new(host, spec, TAKE_PTR(plan), &record, config, config_len);
    struct box *box = m->box;
    box->owner = owner;
    struct kit *kit;
    rc = kit_get(host, m, spec->allow_internet, &kit, err);
    if (rc > 0) {
        box->making = NULL;
        rc = carry_out(m, kit, err);
        making_free(m);
    } else if (rc < 0) {
        making_free(m);
    }
    if (rc < 0) {
        host_retire(host, box);
        return rc;
    }
    *ret = box;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Making a sandbox, the launcher's half: what the plan needs of the host is made step by step,
 * then the zygote is asked. Whatever fails, the same removal as for a dead sandbox undoes it all;
 * it takes any half-made state. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"

struct making {
    struct box_host *host;
    struct box *box;
    struct box_plan *plan;
    const struct box_network *network;
    const char *config;
    int handles[BOX_HANDLES];
    int status_read;
};

static int make_directory(struct making *m, struct err *err)
{
    struct box_host *host = m->host;
    if (mkdirat(host->sandboxes_fd, m->plan->id, 0700) < 0)
        return err_os(err, errno, "make %s", m->plan->sandbox_dir);
    m->box->dir_fd =
        openat(host->sandboxes_fd, m->plan->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (m->box->dir_fd < 0 || mkdirat(m->box->dir_fd, "upper", 0755) < 0 ||
        mkdirat(m->box->dir_fd, "work", 0700) < 0)
        return err_os(err, errno, "fill %s", m->plan->sandbox_dir);
    return 0;
}

enum { SOCKET_BACKLOG = 512 };

/* Bound through the directory's descriptor: socket paths are limited to 107 bytes. */
static int bind_socket(int dir, int sock)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/agent.sock", dir);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return 0;
}

static int make_socket(struct making *m, struct err *err)
{
    struct box_host *host = m->host;
    /* Closed to all until everything in it has its owner and mode. */
    if (mkdirat(host->run_fd, m->plan->id, 0700) < 0)
        return err_os(err, errno, "make %s", m->plan->run_dir);
    _cleanup_close_ int dir =
        openat(host->run_fd, m->plan->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    m->handles[BOX_HANDLE_LISTEN] = sock;
    if (dir < 0 || sock < 0)
        return err_os(err, errno, "open %s", m->plan->run_dir);
    int rc = bind_socket(dir, sock);
    if (rc < 0)
        return err_os(err, -rc, "bind %s/agent.sock", m->plan->run_dir);
    gid_t gid = host->options.server_gid;
    if (fchownat(dir, "agent.sock", 0, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(dir, "agent.sock", 0660, 0) < 0 || fchown(dir, 0, gid) < 0 ||
        fchmod(dir, 0750) < 0 || listen(sock, SOCKET_BACKLOG) < 0)
        return err_os(err, errno, "open %s/agent.sock to the server", m->plan->run_dir);
    return 0;
}

static int make_cgroups(struct making *m, struct err *err)
{
    struct cgroup_fds fds;
    int rc = cgroup_make(m->host->cgroups, m->plan->id, &m->plan->limits, &fds, err);
    if (rc < 0)
        return rc;
    m->handles[BOX_HANDLE_MEMORY] = fds.memory;
    m->handles[BOX_HANDLE_CPU] = fds.cpu;
    m->handles[BOX_HANDLE_CGROUP] = fds.directory;
    for (size_t i = 0; i < ARRAY_SIZE(fds.tasks); i++)
        m->handles[BOX_HANDLE_TASKS + i] = fds.tasks[i];
    return 0;
}

static int make_network(struct making *m, struct err *err)
{
    int rc = net_host_sandbox(m->host->net, m->plan->slot, m->plan->allow_internet,
                              &m->handles[BOX_HANDLE_NETNS], err);
    return rc < 0 ? rc : network_begin(m->host, m->box, m->network, err);
}

static int make_mounts(struct making *m, struct err *err)
{
    int userns;
    int rc = uidslots_userns(m->host->slots, m->plan->slot, &userns, err);
    if (rc < 0)
        return rc;
    m->handles[BOX_HANDLE_USERNS] = userns;
    rc = mounts_template(m->host, m->plan, userns, &m->handles[BOX_HANDLE_TEMPLATE],
                         &m->handles[BOX_HANDLE_LAYER], err);
    if (rc < 0)
        return rc;
    return mounts_state(m->box->dir_fd, userns, &m->handles[BOX_HANDLE_STATE], err);
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
    {"directory", make_directory}, {"socket", make_socket}, {"cgroups", make_cgroups},
    {"network", make_network},     {"mounts", make_mounts}, {"zygote", ask_zygote},
};

static int run_steps(struct making *m, struct err *err)
{
    const char *fail_step = m->host->options.fail_step;
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        int rc = steps[i].run(m, err);
        if (rc == 0 && fail_step && strcmp(fail_step, steps[i].name) == 0 &&
            i + 1 < ARRAY_SIZE(steps))
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
        if (strcmp(box->id, spec->id) == 0)
            return err_set(err, ERR_EXISTS, 0, "sandbox %s exists%s", spec->id,
                           box->state == BOX_REMOVING ? " still" : "");
    return 0;
}

int box_host_plan(struct box_host *host, const struct box_spec *spec, struct box_plan *ret,
                  struct err *err)
{
    int slot = uidslots_take(host->slots);
    if (slot < 0)
        return err_set(err, ERR_EXHAUSTED, 0, "all %d sandboxes of this server are in use",
                       BOX_SLOTS);
    uidslots_release(host->slots, (unsigned)slot);
    return box_plan_make(&host->layout, spec, (unsigned)slot, ret, err);
}

static void keep_limits(struct box_record *record, const struct box_plan *plan)
{
    record->slot = plan->slot;
    record->limits = plan->limits;
    record->allow_internet = plan->allow_internet;
    snprintf(record->template_name, sizeof record->template_name, "%s", plan->template_name);
}

int box_create(struct box_host *host, const struct box_spec *spec, const char *config,
               size_t config_len, void *owner, struct box **ret, struct err *err)
{
    if (config_len > BOX_CONFIG_MAX)
        return err_set(err, ERR_TOO_LARGE, 0, "configuration of sandbox %s", spec->id);
    _cleanup_free_ struct box_plan *plan = xmalloc(sizeof *plan);
    int rc = box_host_plan(host, spec, plan, err);
    if (rc == 0)
        rc = check_new(host, spec, err);
    if (rc < 0)
        return rc;
    plan->inside.config_len = (uint32_t)config_len;
    if (host->options.tamper)
        host->options.tamper(plan);
    int slot = uidslots_take(host->slots);
    struct box *box = host_new_box(host, spec->id, (unsigned)slot);
    box->state = BOX_STARTING;
    box->owner = owner;
    keep_limits(&box->record, plan);
    host->starting++;
    struct making making = {
        .host = host, .box = box, .plan = plan, .network = spec->network, .config = config};
    for (size_t i = 0; i < BOX_HANDLES; i++)
        making.handles[i] = -1;
    rc = run_steps(&making, err);
    making.handles[BOX_HANDLE_USERNS] = -1; /* the slot's */
    for (size_t i = 0; i < BOX_HANDLES; i++)
        fd_closep(&making.handles[i]);
    if (rc < 0) {
        host_retire(host, box);
        return rc;
    }
    *ret = box;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of one sandbox: on disk, which is the truth for the next launcher, and in force. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/host-internal.h"

static void keep(struct box *box, const struct box_network *network)
{
    struct box_network *mine = NULL;
    if (network && box_network_restricts(network)) {
        mine = xmalloc(sizeof *mine);
        *mine = *network;
    }
    free(box->network);
    box->network = mine;
}

static int write_file(int dir, const struct box_network *network, struct err *err)
{
    static const struct box_network open_network;
    struct buf text;
    buf_init(&text, BOX_NETWORK_MAX);
    int rc = box_network_print(network ? network : &open_network, &text);
    if (rc == 0)
        rc = fd_replace_file(dir, BOX_NETWORK_FILE, buf_ptr(&text), buf_len(&text), 0600);
    buf_done(&text);
    return rc < 0 ? err_os(err, -rc, "write the network policy") : 0;
}

int network_begin(struct box_host *host, struct box *box, const struct box_network *network,
                  struct err *err)
{
    box->record.mark = net_host_mark(host->net, box->slot);
    box->address = net_address_inside(host->options.instance, box->slot);
    if (!box_network_restricts(network))
        return 0;
    int rc = write_file(box->dir_fd, network, err);
    if (rc == 0)
        rc = net_host_policy(host->net, box->slot, network, true, err);
    if (rc == 0)
        keep(box, network);
    return rc;
}

/* A policy that cannot be read closes everything. */
void network_adopt(struct box_host *host, struct box *box)
{
    char path[BOX_ID_MAX + 16];
    _cleanup_free_ char *text = NULL;
    _cleanup_free_ struct box_network *network = xcalloc(1, sizeof *network);
    size_t len;
    snprintf(path, sizeof path, "%s/" BOX_NETWORK_FILE, box->id);
    int rc = fd_read_file(host->sandboxes_fd, path, BOX_NETWORK_MAX, &text, &len);
    if (rc == 0)
        rc = box_network_parse((struct str){text, len}, network);
    if (rc < 0 && rc != -ENOENT)
        *network = (struct box_network){.deny_all = true};
    keep(box, network);
    box->address = net_address_inside(host->options.instance, box->slot);
    net_host_adopt(host->net, box->slot, box->record.mark, box->network);
}

/* ---- changes ---- */

/* The sandbox was made without a link and gets one now. Its namespace is found through init: with
 * the process seen alive afterwards, what was opened under its pid was its own. */
static int connect_box(struct box_host *host, struct box *box, struct err *err)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/net", box->pid);
    _cleanup_close_ int netns = open(path, O_RDONLY | O_CLOEXEC);
    if (netns < 0)
        return err_os(err, errno, "open %s", path);
    if (syscall(SYS_pidfd_send_signal, box->pidfd, 0, NULL, 0) < 0)
        return err_set(err, ERR_NOT_FOUND, 0, "sandbox %s does not run", box->id);
    int rc = net_host_connect(host->net, box->slot, netns, err);
    if (rc < 0)
        return rc;
    box->record.allow_internet = true;
    box->record.mark = net_host_mark(host->net, box->slot);
    return 0;
}

static int save_record(struct box_host *host, struct box *box, struct err *err)
{
    box->dir_fd =
        openat(host->sandboxes_fd, box->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = box->dir_fd < 0 ? err_os(err, errno, "open the directory of %s", box->id)
                             : adopt_record_prepare(host, box, err);
    if (rc == 0)
        rc = adopt_record_commit(box, err);
    fd_closep(&box->dir_fd);
    return rc;
}

static int put_in_force(struct box_host *host, struct box *box, const struct box_network *network,
                        struct err *err)
{
    int rc = net_host_policy(host->net, box->slot, network, false, err);
    if (rc < 0 || box->record.mark != 0 || box_network_closed(network))
        return rc;
    rc = connect_box(host, box, err);
    return rc < 0 ? rc : save_record(host, box, err);
}

int box_set_network(struct box_host *host, struct box *box, const struct box_network *network,
                    struct err *err)
{
    if (box->state != BOX_RUNNING)
        return err_set(err, ERR_PRECONDITION, 0, "sandbox %s does not run", box->id);
    _cleanup_close_ int dir =
        openat(host->sandboxes_fd, box->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0)
        return err_os(err, errno, "open the directory of %s", box->id);
    int rc = write_file(dir, network, err);
    if (rc < 0)
        return rc;
    rc = put_in_force(host, box, network, err);
    if (rc < 0) {
        /* Who asked is told that nothing changed, so the next launcher must not think otherwise. */
        struct err ignored;
        (void)write_file(dir, box->network, &ignored);
        (void)net_host_policy(host->net, box->slot, box->network, false, &ignored);
        return rc;
    }
    keep(box, network);
    return 0;
}

const struct box_network *box_network(const struct box *box)
{
    return box->network;
}

struct in_addr box_address(const struct box *box)
{
    return box->address;
}

const struct net_facts *box_host_network(const struct box_host *host)
{
    return net_host_facts(host->net);
}

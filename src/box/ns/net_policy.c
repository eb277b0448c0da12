/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as elements of the table's sets: who is alive, and what each may reach.
 *
 * The slots are the truth, the table their image. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/conntrack.h"
#include "box/ns/net-internal.h"
#include "box/ns/nft.h"
#include "box/ns/nft_change.h"

enum {
    RULESET_MAX = 64 * 1024 * 1024, /* 2,048 sandboxes with 512 ranges each take 50 MB */
    MARK_TAG = 0xca,                /* ours, in the highest byte: other programs mark packets too */
    FLOWS_MIN = 1024,
    FLOWS_SHARE = 32, /* of what the host can track, one sandbox may take 1/32 */
    FLOWS_DEFAULT = 8192,
};

const struct net_range *net_closed(unsigned *ret_count)
{
    *ret_count = nft_closed_count;
    return nft_closed;
}

/* The table of connections is shared by the whole host: nobody may fill it. */
static unsigned flows_max(void)
{
    _cleanup_free_ char *text = NULL;
    size_t len;
    uint64_t max;
    if (fd_read_file(AT_FDCWD, "/proc/sys/net/netfilter/nf_conntrack_max", 32, &text, &len) < 0 ||
        str_to_u64((struct str){text, str_find((struct str){text, len}, '\n')}, UINT32_MAX, &max) <
            0)
        return FLOWS_DEFAULT;
    max /= FLOWS_SHARE;
    return max < FLOWS_MIN ? FLOWS_MIN : (unsigned)max;
}

static struct in_addr address_of(const struct net_host *host, unsigned slot)
{
    return net_address_inside(host->options.instance, slot);
}

static struct box_network *copy(const struct box_network *network)
{
    if (!box_network_restricts(network))
        return NULL;
    struct box_network *mine = xmalloc(sizeof(*mine));
    *mine = *network;
    return mine;
}

/* All rules are in force: now packets may pass them. */
static int open_gates(struct net_host *host, const struct nft_member *members, size_t count,
                      struct err *err)
{
    struct nft_change change;
    nft_change_begin(&change, host->options.instance);
    for (size_t i = 0; i < count; i++)
        nft_change_address_mark(&change, true, NFT_LIVE, members[i].address, members[i].mark);
    int r = nft_change_commit(host->nft_sock, &change, err);
    nft_change_done(&change);
    return r;
}

static int load(struct net_host *host, struct err *err)
{
    const struct net_options *options = &host->options;
    _cleanup_free_ struct nft_member *members = xcalloc(NET_SLOTS, sizeof(*members));
    size_t count = 0;
    for (unsigned slot = 0; slot < NET_SLOTS; slot++)
        if (host->slots[slot].mark != 0)
            members[count++] = (struct nft_member){address_of(host, slot), host->slots[slot].mark,
                                                   host->slots[slot].network};
    struct nft_policy policy = {.instance = options->instance,
                                .subnet = net_subnet(options->instance),
                                .prefix = NET_PREFIX,
                                .dns = options->dns,
                                .dns_count = options->dns_count,
                                .opened = options->opened,
                                .opened_count = options->opened_count,
                                .relay = options->relay,
                                .relay_address = net_address_relay(options->instance),
                                .flows_max =
                                    options->flows_max != 0 ? options->flows_max : flows_max(),
                                .members = members,
                                .member_count = count};
    struct buf text;
    buf_init(&text, RULESET_MAX);
    int r = nft_policy_text(&policy, &text);
    if (r < 0)
        r = err_set(err, ERR_TOO_LARGE, 0, "rules of %zu sandboxes", count);
    else
        r = nft_load(buf_ptr(&text), buf_len(&text), err);
    buf_done(&text);
    return r == 0 ? open_gates(host, members, count, err) : r;
}

int net_policy_load(struct net_host *host, struct err *err)
{
    pthread_mutex_lock(&host->rules);
    int r = load(host, err);
    pthread_mutex_unlock(&host->rules);
    return r;
}

/* A firewall that reloads (`flush ruleset` at the top of its file) takes all tables away, and ours
 * is what keeps sandboxes from the host. */
void net_policy_mend(struct net_host *host)
{
    struct err ignored;
    pthread_mutex_lock(&host->rules);
    host->rules_lost =
        !nft_rules_exist(host->nft_sock, host->options.instance) && load(host, &ignored) < 0;
    pthread_mutex_unlock(&host->rules);
}

/* ---- changes ---- */

static void change_network(struct nft_change *change, bool add, struct in_addr address,
                           const struct box_network *network)
{
    if (network == NULL)
        return;
    if (nft_is_listed(network))
        nft_change_address(change, add, NFT_LISTED, address);
    if (nft_is_shut(network))
        nft_change_address(change, add, NFT_SHUT, address);
    if (nft_is_relayed(network))
        nft_change_address(change, add, NFT_RELAYED, address);
    for (uint32_t i = 0; i < network->allow_count; i++)
        nft_change_range(change, add, NFT_ALLOW, address, network->allow[i].first,
                         network->allow[i].last);
    for (uint32_t i = 0; i < network->deny_count; i++)
        nft_change_range(change, add, NFT_DENY, address, network->deny[i].first,
                         network->deny[i].last);
}

static void change_slot(struct nft_change *change, bool add, struct in_addr address,
                        const struct net_slot *slot)
{
    if (slot->mark == 0)
        return;
    nft_change_mark(change, add, NFT_MARKS, address, slot->mark);
    nft_change_address_mark(change, add, NFT_LIVE, address, slot->mark);
    change_network(change, add, address, slot->network);
}

/* ---- connections there are ---- */

static bool contains(const struct box_range *ranges, uint32_t count, uint32_t address)
{
    uint32_t low = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        if (ranges[low + half].last < address) {
            low += half + 1;
            count -= half + 1;
        } else if (ranges[low + half].first > address) {
            count = half;
        } else {
            return true;
        }
    }
    return false;
}

/* What the rules would say to the first packet of the connection. */
static bool forbids(const struct net_host *host, const struct box_network *n,
                    const struct conntrack_flow *flow)
{
    uint32_t to = ntohl(flow->to.s_addr);
    /* The relay ends its own. */
    if (flow->answers.s_addr == net_address_relay(host->options.instance).s_addr ||
        contains(n->allow, n->allow_count, to))
        return false;
    for (unsigned i = 0; !n->deny_all && flow->port == 53 && i < host->options.dns_count; i++)
        if (host->options.dns[i].s_addr == flow->to.s_addr)
            return false;
    return n->deny_all || contains(n->deny, n->deny_count, to);
}

struct cut {
    const struct net_host *host;
    const struct box_network *network;
};

static bool cut_flow(void *arg, const struct conntrack_flow *flow)
{
    const struct cut *cut = arg;
    return forbids(cut->host, cut->network, flow);
}

/* The slot becomes what *next says; next->network changes owner, also on failure. What was there
 * stays on failure. With the lock held. */
static int replace(struct net_host *host, unsigned slot, struct net_slot next, struct err *err)
{
    struct net_slot *now = &host->slots[slot], before = *now;
    struct nft_change change;
    nft_change_begin(&change, host->options.instance);
    if (before.mark == next.mark) {
        if (next.mark != 0) {
            change_network(&change, false, address_of(host, slot), before.network);
            change_network(&change, true, address_of(host, slot), next.network);
        }
    } else {
        change_slot(&change, false, address_of(host, slot), &before);
        change_slot(&change, true, address_of(host, slot), &next);
    }
    int r = nft_change_commit(host->nft_sock, &change, err);
    nft_change_done(&change);
    *now = next;
    if (r == -ENOENT || r == -EEXIST)
        r = load(host, err);
    if (r < 0)
        *now = before;
    free(r < 0 ? next.network : before.network);
    return r;
}

int net_policy_enter(struct net_host *host, unsigned slot, struct err *err)
{
    pthread_mutex_lock(&host->rules);
    uint32_t mark = (uint32_t)MARK_TAG << 24 | (++host->next_mark & 0xffffff);
    int r = replace(host, slot, (struct net_slot){mark, copy(host->slots[slot].network)}, err);
    pthread_mutex_unlock(&host->rules);
    return r;
}

int net_host_policy(struct net_host *host, unsigned slot, const struct box_network *network,
                    bool fresh, struct err *err)
{
    assert(slot < NET_SLOTS);
    if (nft_is_relayed(network) && host->options.relay.https == 0)
        return err_set(err, ERR_UNIMPLEMENTED, 0, "network: there is no relay for rules on names");
    struct err reason;
    pthread_mutex_lock(&host->rules);
    struct net_slot next = {host->slots[slot].mark, copy(network)};
    int r = replace(host, slot, next, &reason);
    /* Rules stop what the sandbox sends; what is sent to it comes as long as it is tracked. */
    struct cut cut = {host, host->slots[slot].network};
    if (r == 0 && !fresh && cut.network != NULL)
        r = conntrack_remove(host->nft_sock, address_of(host, slot), cut_flow, &cut, &reason);
    pthread_mutex_unlock(&host->rules);
    if (r == 0)
        return 0;
    err_set(err, reason.os == ENOMEM || reason.os == ENOBUFS ? ERR_UNAVAILABLE : ERR_INTERNAL, 0,
            "network: %s", reason.message);
    return -EIO;
}

void net_host_adopt(struct net_host *host, unsigned slot, uint32_t mark,
                    const struct box_network *network)
{
    assert(slot < NET_SLOTS);
    free(host->slots[slot].network);
    host->slots[slot] = (struct net_slot){mark, copy(network)};
}

uint32_t net_host_mark(const struct net_host *host, unsigned slot)
{
    assert(slot < NET_SLOTS);
    return host->slots[slot].mark;
}

void net_host_release(struct net_host *host, unsigned slot)
{
    /* The link stays: deleting it would hold the kernel's network lock for 35 ms. The namespace
     * takes it along, and a new pair of the slot has another name and replaces the route. */
    assert(slot < NET_SLOTS);
    struct net_slot none = {0};
    pthread_mutex_lock(&host->rules);
    if (host->slots[slot].mark != 0 || host->slots[slot].network != NULL)
        (void)replace(host, slot, none, NULL);
    pthread_mutex_unlock(&host->rules);
    /* If that failed, the next change of this slot repairs it, and that is due before anybody uses
     * it. */
}

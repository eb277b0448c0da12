/* SPDX-License-Identifier: Apache-2.0 */
/* nfnetlink batches of set elements, built with libmnl. */
#include "box/ns/nft_change.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/nft.h"

/* Replacing one full policy by another is 4 * 256 ranges of two elements. */
enum { CHANGE_MAX = 1024 * 1024, MESSAGE_MAX = 256 };

int nft_change_open(struct err *err)
{
    _cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (sock < 0)
        return err_os(err, errno, "open a netfilter socket");
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    if (bind(sock, (struct sockaddr *)&any, sizeof(any)) < 0)
        return err_os(err, errno, "bind a netfilter socket");
    int one = 1, size = 2 * CHANGE_MAX;
    (void)setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        return err_os(err, errno, "size of a netfilter socket's buffer");
    return TAKE_FD(sock);
}

/* Elements change all the time, by our own doing. They come in messages of their own. */
static int ignore_elements(int sock)
{
    const uint16_t added = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM;
    const uint16_t removed = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM;
    const uint16_t counted = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN; /* after each change */
    /* The filter reads in network order, netlink writes in the host's. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(added), 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(removed), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(counted), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog filter = {.len = ARRAY_SIZE(code), .filter = code};
    return setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

int nft_monitor_open(struct err *err)
{
    _cleanup_close_ int sock =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    int group = NFNLGRP_NFTABLES;
    if (sock < 0 || ignore_elements(sock) < 0 ||
        bind(sock, (struct sockaddr *)&any, sizeof(any)) < 0 ||
        setsockopt(sock, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
        return err_os(err, errno, "listen to changes of rules");
    return TAKE_FD(sock);
}

void nft_monitor_drain(int monitor)
{
    char event[64];
    for (;;) {
        ssize_t got = recv(monitor, event, sizeof(event), MSG_DONTWAIT);
        if (got < 0 && errno != ENOBUFS && errno != EINTR)
            return;
    }
}

static void table_name(unsigned instance, char out[16])
{
    (void)snprintf(out, 16, "carrel%u", instance);
}

/* Asked for by its last chain, because a table alone proves nothing: one that is added and deleted
 * in the same transaction, as nft_policy_text does to begin anew, is in sight until that commits. */
bool nft_rules_exist(int sock, unsigned instance)
{
    _Alignas(8) char data[8192];
    char table[16];
    struct nlmsghdr *head = mnl_nlmsg_put_header(data);
    head->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    head->nlmsg_flags = NLM_F_REQUEST;
    head->nlmsg_seq = 1;
    struct nfgenmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->nfgen_family = NFPROTO_INET;
    body->version = NFNETLINK_V0;
    table_name(instance, table);
    mnl_attr_put_strz(head, NFTA_CHAIN_TABLE, table);
    mnl_attr_put_strz(head, NFTA_CHAIN_NAME, NFT_LAST_CHAIN);
    if (send(sock, data, head->nlmsg_len, 0) < 0)
        return true;
    ssize_t got = recv(sock, data, sizeof(data), MSG_DONTWAIT);
    head = (struct nlmsghdr *)data;
    return got < 0 || !mnl_nlmsg_ok(head, (int)got) || head->nlmsg_type != NLMSG_ERROR ||
           ((const struct nlmsgerr *)mnl_nlmsg_get_payload(head))->error != -ENOENT;
}

static struct nlmsghdr *message_begin(struct nft_change *change, uint16_t type, uint16_t flags,
                                      uint8_t family)
{
    char *at = buf_reserve(&change->bytes, MESSAGE_MAX);
    if (at == NULL) {
        change->full = true;
        return NULL;
    }
    struct nlmsghdr *head = mnl_nlmsg_put_header(at);
    head->nlmsg_type = type;
    head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    head->nlmsg_seq = ++change->count;
    struct nfgenmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->nfgen_family = family;
    body->version = NFNETLINK_V0;
    body->res_id = family == AF_UNSPEC ? htons(NFNL_SUBSYS_NFTABLES) : 0;
    return head;
}

static void message_end(struct nft_change *change, const struct nlmsghdr *head)
{
    buf_added(&change->bytes, MNL_ALIGN(head->nlmsg_len));
}

void nft_change_begin(struct nft_change *change, unsigned instance)
{
    *change = (struct nft_change){.instance = instance};
    buf_init(&change->bytes, CHANGE_MAX);
    struct nlmsghdr *head = message_begin(change, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
    message_end(change, head);
}

void nft_change_done(struct nft_change *change)
{
    buf_done(&change->bytes);
}

static void put_value(struct nlmsghdr *head, uint16_t kind, const void *value, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(head, kind);
    mnl_attr_put(head, NFTA_DATA_VALUE, len, value);
    mnl_attr_nest_end(head, nest);
}

struct element {
    const void *key, *data; /* data: of a map */
    size_t key_len, data_len;
    bool end; /* behind the last of an interval */
};

static void put_element(struct nft_change *change, bool add, const char *set,
                        const struct element *element)
{
    uint16_t what = add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM;
    uint16_t flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct nlmsghdr *head =
        message_begin(change, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | what), flags, NFPROTO_INET);
    if (head == NULL)
        return;
    char table[16];
    table_name(change->instance, table);
    mnl_attr_put_strz(head, NFTA_SET_ELEM_LIST_TABLE, table);
    mnl_attr_put_strz(head, NFTA_SET_ELEM_LIST_SET, set);
    struct nlattr *list = mnl_attr_nest_start(head, NFTA_SET_ELEM_LIST_ELEMENTS);
    struct nlattr *one = mnl_attr_nest_start(head, NFTA_LIST_ELEM);
    put_value(head, NFTA_SET_ELEM_KEY, element->key, element->key_len);
    if (element->end)
        mnl_attr_put_u32(head, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
    if (element->data != NULL && add)
        put_value(head, NFTA_SET_ELEM_DATA, element->data, element->data_len);
    mnl_attr_nest_end(head, one);
    mnl_attr_nest_end(head, list);
    message_end(change, head);
}

void nft_change_address(struct nft_change *change, bool add, const char *set,
                        struct in_addr address)
{
    const struct element element = {.key = &address, .key_len = sizeof(address)};
    put_element(change, add, set, &element);
}

void nft_change_mark(struct nft_change *change, bool add, const char *map, struct in_addr address,
                     uint32_t mark)
{
    const struct element element = {
        .key = &address, .key_len = sizeof(address), .data = &mark, .data_len = sizeof(mark)};
    put_element(change, add, map, &element);
}

void nft_change_address_mark(struct nft_change *change, bool add, const char *set,
                             struct in_addr address, uint32_t mark)
{
    const uint32_t key[2] = {address.s_addr, mark};
    const struct element element = {.key = key, .key_len = sizeof(key)};
    put_element(change, add, set, &element);
}

/* To the kernel the pair is one number, an address and one to it side by side as in a packet. */
void nft_change_range(struct nft_change *change, bool add, const char *set, struct in_addr address,
                      uint32_t first, uint32_t last)
{
    const uint64_t high = (uint64_t)ntohl(address.s_addr) << 32;
    const uint64_t from = htobe64(high + first), to = htobe64(high + last + 1);
    const struct element start = {.key = &from, .key_len = sizeof(from)};
    const struct element end = {.key = &to, .key_len = sizeof(to), .end = true};
    put_element(change, add, set, &start);
    put_element(change, add, set, &end);
}

/* The kernel has answered all of a batch by the time it is sent. The first error counts; without
 * any, the acknowledgement of the last element must be there. */
static int read_answers(int sock, uint32_t last, struct err *err)
{
    bool done = false;
    int failed = 0;
    for (;;) {
        _Alignas(8) char answer[8192];
        ssize_t got = recv(sock, answer, sizeof(answer), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        int left = (int)got;
        for (const struct nlmsghdr *head = (struct nlmsghdr *)answer; mnl_nlmsg_ok(head, left);
             head = mnl_nlmsg_next(head, &left)) {
            if (head->nlmsg_type != NLMSG_ERROR)
                continue;
            const struct nlmsgerr *said = mnl_nlmsg_get_payload(head);
            if (said->error != 0 && failed == 0)
                failed = err_os(err, -said->error, "change rules");
            done = done || (said->error == 0 && head->nlmsg_seq == last);
        }
    }
    if (failed == 0 && !done)
        failed = err_set(err, ERR_INTERNAL, EIO, "change rules: no answer");
    return failed;
}

int nft_change_commit(int sock, struct nft_change *change, struct err *err)
{
    if (change->full)
        return err_set(err, ERR_TOO_LARGE, 0, "change rules: too many at once");
    if (change->count == 1)
        return 0;
    uint32_t last = change->count;
    struct nlmsghdr *head = (struct nlmsghdr *)(uintptr_t)buf_ptr(&change->bytes);
    while (head->nlmsg_seq < last)
        head = (struct nlmsghdr *)((char *)head + MNL_ALIGN(head->nlmsg_len));
    head->nlmsg_flags |= NLM_F_ACK;
    head = message_begin(change, NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
    if (head == NULL)
        return err_set(err, ERR_TOO_LARGE, 0, "change rules: too many at once");
    message_end(change, head);
    if (send(sock, buf_ptr(&change->bytes), buf_len(&change->bytes), 0) < 0)
        return err_os(err, errno, "change rules: send");
    return read_answers(sock, last, err);
}

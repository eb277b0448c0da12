/* SPDX-License-Identifier: Apache-2.0 */
/* ctnetlink, with libmnl. */
#include "box/ns/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    CHOSEN_MAX = 8 * 1024 * 1024, /* all that one sandbox may have is less than half of it */
    ANSWER_SIZE = 32 * 1024,
};

static struct nlmsghdr *put_head(void *at, uint8_t message, uint16_t flags)
{
    struct nlmsghdr *head = mnl_nlmsg_put_header(at);
    head->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | message);
    head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    head->nlmsg_seq = 1;
    struct nfgenmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->nfgen_family = AF_INET;
    body->version = NFNETLINK_V0;
    return head;
}

/* ---- reading ---- */

static const struct nlattr *find(const struct nlattr *nest, uint16_t type)
{
    const struct nlattr *attr;
    mnl_attr_for_each_nested(attr, nest) if (mnl_attr_get_type(attr) == type) return attr;
    return NULL;
}

static bool take_address(const struct nlattr *ip, uint16_t type, struct in_addr *ret)
{
    const struct nlattr *attr = find(ip, type);
    if (attr == NULL || mnl_attr_get_payload_len(attr) != sizeof(*ret))
        return false;
    memcpy(ret, mnl_attr_get_payload(attr), sizeof(*ret));
    return true;
}

static bool take_original(const struct nlattr *tuple, struct conntrack_flow *ret)
{
    const struct nlattr *ip = find(tuple, CTA_TUPLE_IP), *proto = find(tuple, CTA_TUPLE_PROTO);
    if (ip == NULL || proto == NULL || !take_address(ip, CTA_IP_V4_SRC, &ret->from) ||
        !take_address(ip, CTA_IP_V4_DST, &ret->to))
        return false;
    const struct nlattr *number = find(proto, CTA_PROTO_NUM);
    const struct nlattr *port = find(proto, CTA_PROTO_DST_PORT);
    if (number != NULL && mnl_attr_get_payload_len(number) == 1)
        ret->protocol = mnl_attr_get_u8(number);
    if (port != NULL && mnl_attr_get_payload_len(port) == 2)
        ret->port = ntohs(mnl_attr_get_u16(port));
    return true;
}

/* The flow of a dumped entry, and its original tuple as it stands there. */
static const struct nlattr *take_entry(const struct nlmsghdr *head, struct conntrack_flow *ret)
{
    const struct nlattr *attr, *original = NULL, *reply = NULL, *ip;
    mnl_attr_for_each(attr, head, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
            original = attr;
        else if (mnl_attr_get_type(attr) == CTA_TUPLE_REPLY)
            reply = attr;
    }
    *ret = (struct conntrack_flow){0};
    if (original == NULL || reply == NULL || !take_original(original, ret))
        return NULL;
    ip = find(reply, CTA_TUPLE_IP);
    return ip != NULL && take_address(ip, CTA_IP_V4_SRC, &ret->answers) ? original : NULL;
}

/* Appends the request that removes the entry with this tuple. */
static int choose(struct buf *chosen, const struct nlattr *tuple)
{
    enum { HEAD = 64 };
    char *at = buf_reserve(chosen, HEAD + tuple->nla_len);
    if (at == NULL)
        return -ENOBUFS;
    struct nlmsghdr *head = put_head(at, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
    mnl_attr_put(head, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(tuple),
                 mnl_attr_get_payload(tuple));
    buf_added(chosen, MNL_ALIGN(head->nlmsg_len));
    return 0;
}

/* ---- asking ---- */

/* Kernels before 5.8 know no filter and tell of all. */
static int ask(int sock, struct in_addr from)
{
    enum { ORIGINAL_SOURCE = 1 << 0 }; /* CTA_FILTER_F_CTA_IP_SRC of the kernel's own header */
    _Alignas(8) char data[256];
    struct nlmsghdr *head = put_head(data, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
    struct nlattr *tuple = mnl_attr_nest_start(head, CTA_TUPLE_ORIG);
    struct nlattr *ip = mnl_attr_nest_start(head, CTA_TUPLE_IP);
    mnl_attr_put_u32(head, CTA_IP_V4_SRC, from.s_addr);
    mnl_attr_nest_end(head, ip);
    mnl_attr_nest_end(head, tuple);
    struct nlattr *filter = mnl_attr_nest_start(head, CTA_FILTER);
    mnl_attr_put_u32(head, CTA_FILTER_ORIG_FLAGS, ORIGINAL_SOURCE);
    mnl_attr_put_u32(head, CTA_FILTER_REPLY_FLAGS, 0);
    mnl_attr_nest_end(head, filter);
    return send(sock, data, head->nlmsg_len, 0) < 0 ? -errno : 0;
}

struct search {
    struct in_addr from;
    bool (*wanted)(void *arg, const struct conntrack_flow *flow);
    void *arg;
    struct buf chosen;
    int failed;
};

/* True at the end of the dump. */
static bool take_answer(struct search *s, const char *answer, ssize_t got)
{
    int left = (int)got;
    for (const struct nlmsghdr *head = (const void *)answer; mnl_nlmsg_ok(head, left);
         head = mnl_nlmsg_next(head, &left)) {
        struct conntrack_flow flow;
        if (head->nlmsg_type == NLMSG_DONE)
            return true;
        if (head->nlmsg_type == NLMSG_ERROR) {
            s->failed = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(head))->error;
            return true;
        }
        const struct nlattr *tuple = take_entry(head, &flow);
        if (tuple != NULL && flow.from.s_addr == s->from.s_addr && s->wanted(s->arg, &flow) &&
            s->failed == 0)
            s->failed = choose(&s->chosen, tuple);
    }
    return false;
}

static int look_through(int sock, struct search *s)
{
    _cleanup_free_ char *answer = xmalloc(ANSWER_SIZE);
    int r = ask(sock, s->from);
    if (r < 0)
        return r;
    for (bool done = false; !done;) {
        ssize_t got = recv(sock, answer, ANSWER_SIZE, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        done = take_answer(s, answer, got);
    }
    return s->failed;
}

/* One that has ended by itself meanwhile is gone, too. */
static int remove_chosen(int sock, const struct buf *chosen)
{
    int failed = 0;
    for (size_t at = 0; at < buf_len(chosen);) {
        const struct nlmsghdr *head = (const void *)(buf_ptr(chosen) + at);
        _Alignas(8) char answer[512];
        if (send(sock, head, head->nlmsg_len, 0) < 0)
            return -errno;
        ssize_t got = recv(sock, answer, sizeof(answer), MSG_DONTWAIT);
        const struct nlmsghdr *said = (const void *)answer;
        if (got < 0)
            return -errno;
        if (mnl_nlmsg_ok(said, (int)got) && said->nlmsg_type == NLMSG_ERROR) {
            int error = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(said))->error;
            if (error != 0 && error != -ENOENT && failed == 0)
                failed = error;
        }
        at += MNL_ALIGN(head->nlmsg_len);
    }
    return failed;
}

int conntrack_remove(int sock, struct in_addr from,
                     bool (*wanted)(void *arg, const struct conntrack_flow *flow), void *arg,
                     struct err *err)
{
    struct search s = {.from = from, .wanted = wanted, .arg = arg};
    buf_init(&s.chosen, CHOSEN_MAX);
    int r = look_through(sock, &s);
    if (r == 0)
        r = remove_chosen(sock, &s.chosen);
    buf_done(&s.chosen);
    return r < 0 ? err_os(err, -r, "end tracked connections") : 0;
}

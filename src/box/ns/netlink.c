/* SPDX-License-Identifier: Apache-2.0 */
/* Route netlink messages, built with libmnl. Knows nothing of sandboxes. */
#include "box/ns/netlink.h"

#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"

int netlink_open(struct err *err)
{
    _cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (sock < 0)
        return err_os(err, errno, "open a route socket");
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    if (bind(sock, (struct sockaddr *)&any, sizeof(any)) < 0)
        return err_os(err, errno, "bind a route socket");
    /* The kernel's own words in errors (4.12), and errors without the request echoed (4.3). A
     * kernel without them only says less. */
    int one = 1;
    (void)setsockopt(sock, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
    (void)setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
    return TAKE_FD(sock);
}

/* ---- building ---- */

static struct nlmsghdr *message_begin(struct netlink_batch *batch, uint16_t type, uint16_t flags,
                                      const char *step)
{
    assert(batch->count < NETLINK_BATCH_STEPS);
    assert(batch->len + 512 <= sizeof(batch->data)); /* none of our messages is larger */
    struct nlmsghdr *head = mnl_nlmsg_put_header(batch->data + batch->len);
    head->nlmsg_type = type;
    head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    head->nlmsg_seq = batch->count + 1;
    batch->steps[batch->count++] = step;
    return head;
}

static void message_end(struct netlink_batch *batch, const struct nlmsghdr *head)
{
    batch->len += MNL_ALIGN(head->nlmsg_len);
    assert(batch->len <= sizeof(batch->data));
}

static void put_link(struct nlmsghdr *head, const char *name, const uint8_t mac[NETLINK_MAC],
                     unsigned mtu)
{
    mnl_attr_put_strz(head, IFLA_IFNAME, name);
    mnl_attr_put(head, IFLA_ADDRESS, NETLINK_MAC, mac);
    mnl_attr_put_u32(head, IFLA_MTU, mtu);
    mnl_attr_put_u32(head, IFLA_NUM_TX_QUEUES, 1);
    mnl_attr_put_u32(head, IFLA_NUM_RX_QUEUES, 1);
}

void netlink_add_veth(struct netlink_batch *batch, const struct netlink_veth *veth)
{
    struct nlmsghdr *head =
        message_begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "create a veth pair");
    struct ifinfomsg *own = mnl_nlmsg_put_extra_header(head, sizeof(*own));
    own->ifi_family = AF_UNSPEC;
    put_link(head, veth->name, veth->mac, veth->mtu);
    struct nlattr *info = mnl_attr_nest_start(head, IFLA_LINKINFO);
    mnl_attr_put_strz(head, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(head, IFLA_INFO_DATA);
    struct nlattr *peer_info = mnl_attr_nest_start(head, VETH_INFO_PEER);
    struct ifinfomsg *peer = mnl_nlmsg_put_extra_header(head, sizeof(*peer));
    peer->ifi_family = AF_UNSPEC;
    put_link(head, veth->peer_name, veth->peer_mac, veth->mtu);
    mnl_attr_put_u32(head, IFLA_NET_NS_FD, (uint32_t)veth->peer_netns);
    mnl_attr_nest_end(head, peer_info);
    mnl_attr_nest_end(head, data);
    mnl_attr_nest_end(head, info);
    message_end(batch, head);
}

void netlink_add_up(struct netlink_batch *batch, unsigned ifindex, bool forward)
{
    struct nlmsghdr *head = message_begin(batch, RTM_SETLINK, 0, "bring a link up");
    struct ifinfomsg *link = mnl_nlmsg_put_extra_header(head, sizeof(*link));
    link->ifi_family = AF_UNSPEC;
    link->ifi_index = (int)ifindex;
    link->ifi_flags = IFF_UP;
    link->ifi_change = IFF_UP;
    if (forward) {
        struct nlattr *spec = mnl_attr_nest_start(head, IFLA_AF_SPEC);
        struct nlattr *inet = mnl_attr_nest_start(head, AF_INET);
        struct nlattr *conf = mnl_attr_nest_start(head, IFLA_INET_CONF);
        mnl_attr_put_u32(head, IPV4_DEVCONF_FORWARDING, 1);
        mnl_attr_nest_end(head, conf);
        mnl_attr_nest_end(head, inet);
        mnl_attr_nest_end(head, spec);
    }
    message_end(batch, head);
}

void netlink_add_address(struct netlink_batch *batch, unsigned ifindex, struct in_addr address,
                         unsigned prefix)
{
    struct nlmsghdr *head =
        message_begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "give a link its address");
    struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->ifa_family = AF_INET;
    body->ifa_prefixlen = (uint8_t)prefix;
    body->ifa_scope = RT_SCOPE_UNIVERSE;
    body->ifa_index = ifindex;
    mnl_attr_put_u32(head, IFA_LOCAL, address.s_addr);
    mnl_attr_put_u32(head, IFA_ADDRESS, address.s_addr);
    message_end(batch, head);
}

static void put_host_address(struct nlmsghdr *head, unsigned ifindex, struct in_addr address)
{
    struct ifaddrmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->ifa_family = AF_INET;
    body->ifa_prefixlen = 32;
    body->ifa_scope = RT_SCOPE_HOST;
    body->ifa_index = ifindex;
    mnl_attr_put_u32(head, IFA_LOCAL, address.s_addr);
    mnl_attr_put_u32(head, IFA_ADDRESS, address.s_addr);
}

void netlink_add_host_address(struct netlink_batch *batch, unsigned ifindex, struct in_addr address)
{
    struct nlmsghdr *head =
        message_begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, "give the host an address");
    put_host_address(head, ifindex, address);
    message_end(batch, head);
}

void netlink_remove_address(int sock, unsigned ifindex, struct in_addr address)
{
    struct netlink_batch batch;
    netlink_begin(&batch);
    struct nlmsghdr *head = message_begin(&batch, RTM_DELADDR, 0, "take an address");
    put_host_address(head, ifindex, address);
    message_end(&batch, head);
    (void)netlink_commit(sock, &batch, NULL);
}

void netlink_add_route(struct netlink_batch *batch, struct in_addr to, unsigned prefix,
                       unsigned ifindex, const struct in_addr *gateway)
{
    struct nlmsghdr *head =
        message_begin(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, "add a route");
    struct rtmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->rtm_family = AF_INET;
    body->rtm_dst_len = (uint8_t)prefix;
    body->rtm_table = RT_TABLE_MAIN;
    body->rtm_protocol = RTPROT_STATIC;
    body->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    body->rtm_type = RTN_UNICAST;
    if (prefix > 0)
        mnl_attr_put_u32(head, RTA_DST, to.s_addr);
    mnl_attr_put_u32(head, RTA_OIF, ifindex);
    if (gateway)
        mnl_attr_put_u32(head, RTA_GATEWAY, gateway->s_addr);
    message_end(batch, head);
}

void netlink_add_neighbour(struct netlink_batch *batch, unsigned ifindex, struct in_addr address,
                           const uint8_t mac[NETLINK_MAC])
{
    struct nlmsghdr *head =
        message_begin(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, "add a neighbour");
    struct ndmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->ndm_family = AF_INET;
    body->ndm_ifindex = (int)ifindex;
    body->ndm_state = NUD_PERMANENT;
    mnl_attr_put_u32(head, NDA_DST, address.s_addr);
    mnl_attr_put(head, NDA_LLADDR, NETLINK_MAC, mac);
    message_end(batch, head);
}

/* ---- executing ---- */

/* The kernel's own explanation in an error message, or "". */
static const char *error_text(const struct nlmsghdr *head)
{
    size_t skip = sizeof(struct nlmsgerr);
    const unsigned wanted = NLM_F_ACK_TLVS | NLM_F_CAPPED;
    if ((head->nlmsg_flags & wanted) != wanted || mnl_nlmsg_get_payload_len(head) < skip)
        return "";
    const struct nlattr *attr;
    mnl_attr_for_each(attr, head, skip)
    {
        if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
            mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
            return mnl_attr_get_str(attr);
    }
    return "";
}

/* Takes one answer of a batch; the first error is kept in *failed. True: it was the last one. */
static bool take_answer(const struct netlink_batch *batch, const struct nlmsghdr *head, int *failed,
                        struct err *err)
{
    if (head->nlmsg_type != NLMSG_ERROR || head->nlmsg_seq == 0 || head->nlmsg_seq > batch->count)
        return false;
    const struct nlmsgerr *answer = mnl_nlmsg_get_payload(head);
    if (answer->error != 0 && *failed == 0) {
        const char *text = error_text(head);
        *failed = err_os(err, -answer->error, "%s%s%s%s", batch->steps[head->nlmsg_seq - 1],
                         *text ? " (" : "", text, *text ? ")" : "");
    }
    return head->nlmsg_seq == batch->count;
}

int netlink_commit(int sock, struct netlink_batch *batch, struct err *err)
{
    if (batch->count == 0)
        return 0;
    /* Errors are always answered; success only where asked, and the last one is enough. */
    struct nlmsghdr *head = (struct nlmsghdr *)batch->data;
    while (head->nlmsg_seq < batch->count)
        head = (struct nlmsghdr *)((char *)head + MNL_ALIGN(head->nlmsg_len));
    head->nlmsg_flags |= NLM_F_ACK;

    if (send(sock, batch->data, batch->len, 0) < 0)
        return err_os(err, errno, "%s: send", batch->steps[0]);

    int failed = 0;
    for (;;) {
        _Alignas(8) char answer[4096];
        ssize_t got = recv(sock, answer, sizeof(answer), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_os(err, errno, "%s: receive", batch->steps[0]);
        int left = (int)got;
        for (head = (struct nlmsghdr *)answer; mnl_nlmsg_ok(head, left);
             head = mnl_nlmsg_next(head, &left)) {
            if (take_answer(batch, head, &failed, err))
                return failed;
        }
    }
}

/* ---- asking ---- */

static int route_read(const struct nlmsghdr *head, unsigned *ret_ifindex, unsigned *ret_mtu)
{
    unsigned ifindex = 0, mtu = 0;
    const struct nlattr *attr, *metric;
    mnl_attr_for_each(attr, head, sizeof(struct rtmsg))
    {
        if (mnl_attr_get_type(attr) == RTA_OIF && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
            ifindex = mnl_attr_get_u32(attr);
        if (mnl_attr_get_type(attr) != RTA_METRICS)
            continue;
        mnl_attr_for_each_nested(metric, attr)
        {
            if (mnl_attr_get_type(metric) == RTAX_MTU &&
                mnl_attr_validate(metric, MNL_TYPE_U32) >= 0)
                mtu = mnl_attr_get_u32(metric);
        }
    }
    if (ifindex == 0)
        return -ENETUNREACH;
    *ret_ifindex = ifindex;
    *ret_mtu = mtu;
    return 0;
}

int netlink_route_get(int sock, struct in_addr to, unsigned *ret_ifindex, unsigned *ret_mtu)
{
    _Alignas(8) char data[4096];
    struct nlmsghdr *head = mnl_nlmsg_put_header(data);
    head->nlmsg_type = RTM_GETROUTE;
    head->nlmsg_flags = NLM_F_REQUEST;
    head->nlmsg_seq = 1;
    struct rtmsg *body = mnl_nlmsg_put_extra_header(head, sizeof(*body));
    body->rtm_family = AF_INET;
    body->rtm_dst_len = 32;
    mnl_attr_put_u32(head, RTA_DST, to.s_addr);
    if (send(sock, data, head->nlmsg_len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t got = recv(sock, data, sizeof(data), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        head = (struct nlmsghdr *)data;
        if (!mnl_nlmsg_ok(head, (int)got))
            return -EBADMSG;
        if (head->nlmsg_type == RTM_NEWROUTE)
            return route_read(head, ret_ifindex, ret_mtu);
        if (head->nlmsg_type == NLMSG_ERROR)
            return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(head))->error;
    }
}

int netlink_monitor_routes(struct err *err)
{
    _cleanup_close_ int sock =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl routes = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_ROUTE};
    if (sock < 0 || bind(sock, (struct sockaddr *)&routes, sizeof(routes)) < 0)
        return err_os(err, errno, "listen to changes of routes");
    return TAKE_FD(sock);
}

bool netlink_tells_default_route(const void *events, size_t len)
{
    int left = (int)len;
    for (const struct nlmsghdr *head = events; mnl_nlmsg_ok(head, left);
         head = mnl_nlmsg_next(head, &left)) {
        const struct rtmsg *route = mnl_nlmsg_get_payload(head);
        if ((head->nlmsg_type == RTM_NEWROUTE || head->nlmsg_type == RTM_DELROUTE) &&
            mnl_nlmsg_get_payload_len(head) >= sizeof(*route) && route->rtm_dst_len == 0)
            return true;
    }
    return false;
}

/* Interface requests work on any socket, a netlink one included, and mean its namespace. */
static int link_ask(int sock, unsigned long what, struct ifreq *request)
{
    return ioctl(sock, what, request) < 0 ? -errno : 0;
}

int netlink_link_index(int sock, const char *name, unsigned *ret)
{
    struct ifreq request = {0};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    int r = link_ask(sock, SIOCGIFINDEX, &request);
    if (r == 0)
        *ret = (unsigned)request.ifr_ifindex;
    return r;
}

int netlink_link_name(int sock, unsigned ifindex, char ret[IFNAMSIZ])
{
    struct ifreq request = {.ifr_ifindex = (int)ifindex};
    int r = link_ask(sock, SIOCGIFNAME, &request);
    if (r == 0)
        memcpy(ret, request.ifr_name, IFNAMSIZ);
    return r;
}

int netlink_link_mtu(int sock, const char *name, unsigned *ret)
{
    struct ifreq request = {0};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    int r = link_ask(sock, SIOCGIFMTU, &request);
    if (r == 0)
        *ret = (unsigned)request.ifr_mtu;
    return r;
}

int netlink_link_settle(int sock, const char *name)
{
    enum { TRIES = 100, PAUSE_NS = 50000 };
    struct ethtool_value question = {.cmd = ETHTOOL_GLINK};
    struct ifreq request = {.ifr_data = (void *)&question};
    (void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    /* Since 6.8 asking for the carrier makes the link watch catch up; earlier it is on its way
     * already, and done when the link is "running". */
    int r = link_ask(sock, SIOCETHTOOL, &request);
    for (int i = 0; r == 0 && i < TRIES; i++) {
        struct ifreq flags = {0};
        memcpy(flags.ifr_name, request.ifr_name, sizeof(flags.ifr_name));
        r = link_ask(sock, SIOCGIFFLAGS, &flags);
        if (r == 0 && (flags.ifr_flags & IFF_RUNNING))
            break;
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        (void)nanosleep(&pause, NULL);
    }
    return r;
}

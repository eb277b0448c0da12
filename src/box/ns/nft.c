/* SPDX-License-Identifier: Apache-2.0 */
/* The ruleset of an instance and running nft. The rules know links by name pattern and addresses
 * by subnet, so that they never change while sandboxes come and go. */
#include "box/ns/nft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/network.h"

/* Destinations closed to every sandbox. The documentation ranges (192.0.2/24, 198.51.100/24,
 * 203.0.113/24) are left out on purpose: nothing of value is there, and test beds use them as
 * stand-ins for the internet. 168.63.129.16 is a public address that serves a cloud's instance
 * metadata; other clouds' are link-local or in the shared range. */
#define RANGE(a, b, c, d, length)                                                              \
    {                                                                                          \
        (uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d), length \
    }
const struct net_range nft_closed[] = {
    RANGE(0, 0, 0, 0, 8),     RANGE(10, 0, 0, 0, 8),       RANGE(100, 64, 0, 0, 10),
    RANGE(127, 0, 0, 0, 8),   RANGE(168, 63, 129, 16, 32), RANGE(169, 254, 0, 0, 16),
    RANGE(172, 16, 0, 0, 12), RANGE(192, 0, 0, 0, 24),     RANGE(192, 168, 0, 0, 16),
    RANGE(198, 18, 0, 0, 15), RANGE(224, 0, 0, 0, 3),
};
const unsigned nft_closed_count = ARRAY_SIZE(nft_closed);

int nft_remove_text(unsigned instance, struct buf *out)
{
    /* Declaring it first makes the removal succeed when there is none. */
    return buf_printf(out, "table inet carrel%u\ndelete table inet carrel%u\n", instance, instance);
}

/* ---- sets ---- */

struct text {
    struct buf *out;
    int failed;
    bool first; /* no element of the present set was written yet */
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    assert(n >= 0 && (size_t)n < sizeof(line));
    if (t->failed == 0)
        t->failed = buf_append(t->out, line, (size_t)n);
}

#define PAIR "@nh,96,64" /* source and destination of an IPv4 packet */

/* type NULL: ranges of pairs. */
static void set_begin(struct text *t, const char *kind, const char *name, const char *type)
{
    put(t, "    %s %s {\n", kind, name);
    if (type != NULL)
        put(t, "        type %s\n", type);
    else
        put(t, "        typeof " PAIR "; flags interval\n");
    t->first = true;
}

static void element_begin(struct text *t)
{
    put(t, "%s", t->first ? "        elements = { " : ",\n            ");
    t->first = false;
}

static void set_end(struct text *t)
{
    put(t, "%s    }\n", t->first ? "" : " }\n");
}

static const char *address_text(struct in_addr address, char out[INET_ADDRSTRLEN])
{
    return inet_ntop(AF_INET, &address, out, INET_ADDRSTRLEN);
}

static void set_of_ranges(struct text *t, const char *name, const struct net_range *ranges,
                          unsigned count)
{
    set_begin(t, "set", name, "ipv4_addr; flags interval; auto-merge");
    for (unsigned i = 0; i < count; i++) {
        char text[INET_ADDRSTRLEN];
        element_begin(t);
        put(t, "%s/%u", address_text((struct in_addr){htonl(ranges[i].address)}, text),
            ranges[i].prefix);
    }
    set_end(t);
}

static void set_of_members(struct text *t, const struct nft_policy *policy, const char *name,
                           bool (*belongs)(const struct box_network *network))
{
    set_begin(t, "set", name, "ipv4_addr");
    for (size_t i = 0; i < policy->member_count; i++) {
        char text[INET_ADDRSTRLEN];
        if (!belongs(policy->members[i].network))
            continue;
        element_begin(t);
        put(t, "%s", address_text(policy->members[i].address, text));
    }
    set_end(t);
}

/* Source and destination as they stand side by side in a packet, as one number: a set of ranges of
 * those is a tree. One of pairs would be a bitmap that is copied for each change, and takes
 * milliseconds to forget a range when it is large. */
static void set_of_pairs(struct text *t, const struct nft_policy *policy, const char *name,
                         bool allow)
{
    set_begin(t, "set", name, NULL);
    for (size_t i = 0; i < policy->member_count; i++) {
        const struct box_network *network = policy->members[i].network;
        unsigned member = ntohl(policy->members[i].address.s_addr);
        uint32_t count = network == NULL ? 0 : allow ? network->allow_count : network->deny_count;
        for (uint32_t j = 0; j < count; j++) {
            struct box_range range = allow ? network->allow[j] : network->deny[j];
            element_begin(t);
            put(t, "0x%08x%08x-0x%08x%08x", member, range.first, member, range.last);
        }
    }
    set_end(t);
}

static void sets_of_marks(struct text *t, const struct nft_policy *policy)
{
    char text[INET_ADDRSTRLEN];
    set_begin(t, "map", NFT_MARKS, "ipv4_addr : mark");
    for (size_t i = 0; i < policy->member_count; i++) {
        element_begin(t);
        put(t, "%s : 0x%08x", address_text(policy->members[i].address, text),
            policy->members[i].mark);
    }
    set_end(t);
    set_begin(t, "set", NFT_LIVE, "ipv4_addr . mark");
    set_end(t);
}

static void sets_of_policies(struct text *t, const struct nft_policy *policy)
{
    set_of_members(t, policy, NFT_LISTED, nft_is_listed);
    set_of_members(t, policy, NFT_SHUT, nft_is_shut);
    set_of_members(t, policy, NFT_RELAYED, nft_is_relayed);
    set_of_pairs(t, policy, NFT_ALLOW, true);
    set_of_pairs(t, policy, NFT_DENY, false);
}

static void sets_text(struct text *t, const struct nft_policy *policy)
{
    set_of_ranges(t, "closed", nft_closed, nft_closed_count);
    set_of_ranges(t, "opened", policy->opened, policy->opened_count);
    set_begin(t, "set", "resolvers", "ipv4_addr");
    for (unsigned i = 0; i < policy->dns_count; i++) {
        char text[INET_ADDRSTRLEN];
        element_begin(t);
        put(t, "%s", address_text(policy->dns[i], text));
    }
    set_end(t);
    sets_of_marks(t, policy);
    sets_of_policies(t, policy);
    put(t, "    set flows {\n        type mark; size 65536; flags dynamic\n    }\n");
}

bool nft_is_listed(const struct box_network *network)
{
    return box_network_restricts(network) && !network->deny_all;
}

bool nft_is_shut(const struct box_network *network)
{
    return network != NULL && network->deny_all;
}

bool nft_is_relayed(const struct box_network *network)
{
    return nft_is_shut(network) && network->names_len > 0;
}

/* ---- chains ---- */

#define DNS "meta l4proto { tcp, udp } th dport 53"

/* All that can be decided by a packet's addresses is decided before connection tracking and before
 * anybody's DNAT: what is refused costs no state, and a port that another program publishes on the
 * host's address is no way around. Of who has no internet, nothing gets to a resolver either: names
 * asked for are words said to the outside. */
static void entry_text(struct text *t, const struct nft_policy *policy, const char *subnet)
{
    put(t, "    chain entry {\n"
           "        type filter hook prerouting priority raw; policy accept\n");
    put(t, "        iifname \"cr%u-*\" jump from_sandbox\n    }\n", policy->instance);
    put(t, "    chain from_sandbox {\n"
           "        meta nfproto != ipv4 drop\n");
    put(t, "        ip saddr != %s/%u drop\n", subnet, policy->prefix);
    put(t, "        fib saddr . iif oif missing drop\n"
           "        ip daddr @resolvers " DNS " goto asking\n"
           "        " DNS " drop\n" /* of the named resolvers only; over TLS likewise */
           "        meta l4proto { tcp, udp } th dport 853 drop\n"
           "        ip daddr @closed ip daddr != @opened drop\n"
           "        fib daddr type != unicast drop\n"
           "    }\n");
    put(t, "    chain asking {\n"
           "        ip saddr @relayed accept\n"
           "        ip saddr @shut " PAIR " != @allow drop\n"
           "    }\n");
    /* A connection belongs to the sandbox that sent its last packet, not to the next one with the
     * same address: answers to the one that is gone must not reach its successor. */
    put(t, "    chain owner {\n"
           "        type filter hook prerouting priority mangle; policy accept\n");
    put(t, "        iifname \"cr%u-*\" ct mark set ip saddr map @marks\n    }\n", policy->instance);
}

/* Connections to names go to the relay, whatever their address. */
static void relay_text(struct text *t, const struct nft_policy *policy)
{
    char to[INET_ADDRSTRLEN];
    if (policy->relay.https == 0)
        return;
    address_text(policy->relay_address, to);
    put(t, "    chain intercept {\n"
           "        type nat hook prerouting priority dstnat; policy accept\n");
    put(t, "        iifname \"cr%u-*\" ip saddr @relayed jump to_relay\n    }\n", policy->instance);
    put(t, "    chain to_relay {\n");
    put(t, "        ip daddr @resolvers udp dport 53 dnat ip to %s:%u\n", to,
        policy->relay.dns_udp);
    put(t, "        ip daddr @resolvers tcp dport 53 dnat ip to %s:%u\n", to,
        policy->relay.dns_tcp);
    put(t, "        " PAIR " @allow return\n");
    put(t, "        tcp dport 443 dnat ip to %s:%u\n", to, policy->relay.https);
    put(t, "        tcp dport 80 dnat ip to %s:%u\n    }\n", to, policy->relay.http);
}

static void input_text(struct text *t, const struct nft_policy *policy)
{
    put(t, "    chain input {\n"
           "        type filter hook input priority filter; policy accept\n");
    /* The relay is for sandboxes alone. */
    if (policy->relay.https != 0) {
        char to[INET_ADDRSTRLEN];
        put(t, "        ip daddr %s iifname != \"cr%u-*\" drop\n",
            address_text(policy->relay_address, to), policy->instance);
    }
    put(t, "        iifname != \"cr%u-*\" return\n", policy->instance);
    put(t, "        ct state invalid drop\n"
           "        ip saddr . ct mark != @live drop\n");
    put(t, "        ct state new add @flows { ct mark ct count over %u } drop\n",
        policy->flows_max);
    if (policy->relay.https != 0) {
        char to[INET_ADDRSTRLEN];
        put(t, "        ip saddr @relayed ip daddr %s ct status dnat accept\n",
            address_text(policy->relay_address, to));
    }
    put(t, "        ip daddr @resolvers " DNS " accept\n"
           "        drop\n    }\n");
}

static void outward_text(struct text *t, const struct nft_policy *policy)
{
    unsigned n = policy->instance;
    put(t, "    chain forward {\n"
           "        type filter hook forward priority filter; policy accept\n");
    put(t,
        "        iifname \"cr%u-*\" jump outward\n"
        "        oifname \"cr%u-*\" jump inward\n    }\n",
        n, n);
    put(t, "    chain outward {\n"
           "        meta nfproto != ipv4 drop\n");
    put(t, "        oifname \"cr%u-*\" drop\n", n);
    /* A sandbox that is not among the living has no rules yet, or none any more. */
    put(t, "        tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
           "        ct state invalid drop\n"
           "        ip saddr . ct mark != @live drop\n");
    put(t, "        ct state new add @flows { ct mark ct count over %u } drop\n",
        policy->flows_max);
    /* Checked again: somebody's DNAT may have changed where it goes. */
    put(t, "        ip daddr @resolvers " DNS " accept\n"
           "        ip daddr @closed ip daddr != @opened drop\n");
    /* Every packet is asked about, not only the first one: a new policy ends what it forbids.
     * Answers need no list: what asked for them has gone from the table of connections by then. */
    put(t, "        ip saddr @shut goto outward_shut\n"
           "        ip saddr @listed goto outward_listed\n"
           "        accept\n    }\n");
    put(t, "    chain outward_shut {\n"
           "        " PAIR " @allow accept\n"
           "        goto refuse\n    }\n");
    put(t, "    chain outward_listed {\n"
           "        " PAIR " @allow accept\n"
           "        " PAIR " @deny goto refuse\n"
           "        accept\n    }\n");
    /* Told, not dropped: it is the owner's own rule, and programs should not wait for it. */
    put(t, "    chain refuse {\n"
           "        meta l4proto tcp reject with tcp reset\n"
           "        reject with icmpx admin-prohibited\n    }\n");
}

static void inward_text(struct text *t)
{
    put(t, "    chain inward {\n"
           "        meta nfproto != ipv4 drop\n"
           "        tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
           "        ip daddr . ct mark != @live drop\n"
           "        ct state established accept\n"
           "        ct state related meta l4proto icmp accept\n"
           "        ct state related tcp flags & rst == rst accept\n"
           "        drop\n    }\n");
}

/* The server reaches ports inside through the agent; no other process of the host has business
 * there, and the token check must not be gone around. The relay looks at addresses itself; that
 * it cannot be talked into reaching what is closed does not depend on it. */
static void output_text(struct text *t, const struct nft_policy *policy)
{
    put(t, "    chain output {\n"
           "        type filter hook output priority filter; policy accept\n");
    put(t, "        oifname \"cr%u-*\" jump inward\n", policy->instance);
    if (policy->relay.https != 0)
        put(t, "        meta skuid %u jump from_relay\n", policy->relay.uid);
    put(t, "    }\n");
    put(t, "    chain from_relay {\n"
           "        meta nfproto != ipv4 reject\n"
           "        ip daddr @resolvers " DNS " accept\n"
           "        ip daddr @closed ip daddr != @opened goto refuse\n"
           "        fib daddr type != unicast goto refuse\n    }\n");
}

int nft_policy_text(const struct nft_policy *policy, struct buf *out)
{
    char subnet[INET_ADDRSTRLEN];
    struct text t = {.out = out};
    t.failed = nft_remove_text(policy->instance, out);
    address_text(policy->subnet, subnet);
    put(&t, "table inet carrel%u {\n", policy->instance);
    sets_text(&t, policy);
    entry_text(&t, policy, subnet);
    relay_text(&t, policy);
    input_text(&t, policy);
    outward_text(&t, policy);
    inward_text(&t);
    output_text(&t, policy);
    put(&t, "    chain " NFT_LAST_CHAIN " {\n"
            "        type nat hook postrouting priority srcnat; policy accept\n");
    put(&t, "        ip saddr %s/%u oifname != \"cr%u-*\" masquerade\n    }\n}\n", subnet,
        policy->prefix, policy->instance);
    return t.failed;
}

/* ---- running nft ---- */

/* Files in memory instead of pipes: nothing can fill up or break while nft runs. */
static int spawn_nft(char *const argv[], int in, int out, pid_t *ret)
{
    char *const environment[] = {(char[]){"LC_ALL=C"}, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGCHLD);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
    int r = posix_spawnp(ret, "nft", &files, &attr, argv, environment);
    if (r == ENOENT) /* a service's PATH may lack the sbin directories */
        r = posix_spawn(ret, "/usr/sbin/nft", &files, &attr, argv, environment);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return -r;
}

/* Runs nft with the given input; all it prints goes to *out (NUL-terminated, cut at size). */
static int run_nft(char *const argv[], const char *text, size_t len, char *out, size_t size,
                   struct err *err)
{
    out[0] = '\0';
    _cleanup_close_ int in = memfd_create("nft-in", MFD_CLOEXEC);
    _cleanup_close_ int printed = memfd_create("nft-out", MFD_CLOEXEC);
    if (in < 0 || printed < 0)
        return err_os(err, errno, "make files for nft");
    int r = fd_write_all(in, text, len);
    if (r < 0 || lseek(in, 0, SEEK_SET) < 0)
        return err_os(err, r < 0 ? -r : errno, "write nft's input");
    pid_t pid;
    r = spawn_nft(argv, in, printed, &pid);
    if (r < 0)
        return err_os(err, -r, "start nft (package nftables)");
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return err_os(err, errno, "wait for nft");
    }
    ssize_t got = pread(printed, out, size - 1, 0);
    out[got > 0 ? got : 0] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    size_t line = str_find(str_from(out), '\n');
    return err_set(err, ERR_INTERNAL, 0, "nft: %.*s", (int)line, out);
}

int nft_load(const char *text, size_t len, struct err *err)
{
    char said[1024];
    char *const argv[] = {(char[]){"nft"}, (char[]){"-f"}, (char[]){"-"}, NULL};
    return run_nft(argv, text, len, said, sizeof(said), err);
}

/* ---- foreign rules ---- */

/* Remembers "table inet x {" and "chain y {" lines, and looks at the hook line below them. */
void nft_find_forward_drop(const char *listing, char *ret, size_t size)
{
    struct str rest = str_from(listing), line, table = STR(""), chain = STR("");
    ret[0] = '\0';
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        if (str_ends(line, STR(" {")))
            line.len -= 2;
        if (str_starts(line, STR("table ")))
            table = line;
        else if (str_starts(line, STR("chain ")))
            chain = line;
        else if (memmem(line.p, line.len, "hook forward ", 13) != NULL &&
                 memmem(line.p, line.len, "policy drop", 11) != NULL) {
            (void)snprintf(ret, size, "%.*s, %.*s", STR_ARG(table), STR_ARG(chain));
            return;
        }
    }
}

void nft_forward_drop(char *ret, size_t size)
{
    enum { LISTING_MAX = 256 * 1024 };
    _cleanup_free_ char *listing = xmalloc(LISTING_MAX);
    char *const argv[] = {(char[]){"nft"}, (char[]){"list"}, (char[]){"chains"}, NULL};
    ret[0] = '\0';
    if (run_nft(argv, "", 0, listing, LISTING_MAX, NULL) == 0)
        nft_find_forward_drop(listing, ret, size);
}

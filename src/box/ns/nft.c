/* SPDX-License-Identifier: Apache-2.0 */
/* The ruleset of an instance and running nft. The rules know links by name pattern and addresses
 * by subnet, so that they never change while sandboxes come and go. */
#include "box/ns/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"

/* Destinations closed to every sandbox. The documentation ranges (192.0.2/24, 198.51.100/24,
 * 203.0.113/24) are left out on purpose: nothing of value is there, and test beds use them as
 * stand-ins for the internet. 168.63.129.16 is a public address that serves a cloud's instance
 * metadata; other clouds' are link-local or in the shared range. */
static const char closed_ranges[] = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, "
                                    "168.63.129.16, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, "
                                    "192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";

int nft_remove_text(unsigned instance, struct buf *out)
{
    /* Declaring it first makes the removal succeed when there is none. */
    return buf_printf(out, "table inet carrel%u\ndelete table inet carrel%u\n", instance, instance);
}

static int sets_text(const struct nft_policy *policy, struct buf *out)
{
    int r = buf_printf(out,
                       "    set closed {\n        type ipv4_addr; flags interval\n"
                       "        elements = { %s }\n    }\n"
                       "    set resolvers {\n        type ipv4_addr\n",
                       closed_ranges);
    for (unsigned i = 0; r == 0 && i < policy->dns_count; i++) {
        char text[INET_ADDRSTRLEN];
        (void)inet_ntop(AF_INET, &policy->dns[i], text, sizeof(text));
        r = buf_printf(out, "%s%s", i == 0 ? "        elements = { " : ", ", text);
    }
    if (r == 0)
        r = buf_append_z(out, policy->dns_count > 0 ? " }\n    }\n" : "    }\n");
    return r;
}

/* All that can be decided by a packet's addresses is decided before connection tracking and before
 * anybody's DNAT: what is refused costs no state, and a port that another program publishes on the
 * host's address is no way around. */
static int entry_text(const struct nft_policy *policy, const char *subnet, struct buf *out)
{
    return buf_printf(out,
                      "    chain entry {\n"
                      "        type filter hook prerouting priority raw; policy accept\n"
                      "        iifname \"cr%u-*\" jump from_sandbox\n"
                      "    }\n"
                      "    chain from_sandbox {\n"
                      "        meta nfproto != ipv4 drop\n"
                      "        ip saddr != %s/%u drop\n"
                      "        fib saddr . iif oif missing drop\n"
                      "        ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 return\n"
                      "        ip daddr @closed drop\n"
                      "        fib daddr type != unicast drop\n"
                      "    }\n",
                      policy->instance, subnet, policy->prefix);
}

static int filter_text(const struct nft_policy *policy, struct buf *out)
{
    unsigned n = policy->instance;
    return buf_printf(
        out,
        "    chain input {\n"
        "        type filter hook input priority filter; policy accept\n"
        "        iifname != \"cr%u-*\" return\n"
        "        ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 accept\n"
        "        drop\n"
        "    }\n"
        "    chain forward {\n"
        "        type filter hook forward priority filter; policy accept\n"
        "        iifname \"cr%u-*\" jump outward\n"
        "        oifname \"cr%u-*\" jump inward\n"
        "    }\n"
        /* Checked again: somebody's DNAT may have changed where it goes. */
        "    chain outward {\n"
        "        meta nfproto != ipv4 drop\n"
        "        oifname \"cr%u-*\" drop\n"
        "        tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
        "        ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 accept\n"
        "        ip daddr @closed drop\n"
        "        ct state invalid drop\n"
        "        accept\n"
        "    }\n"
        "    chain inward {\n"
        "        meta nfproto != ipv4 drop\n"
        "        tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
        "        ct state established accept\n"
        "        ct state related meta l4proto icmp accept\n"
        "        drop\n"
        "    }\n"
        /* The server reaches ports inside through the agent; no other process of the host has
         * business there, and the token check must not be gone around. */
        "    chain output {\n"
        "        type filter hook output priority filter; policy accept\n"
        "        oifname \"cr%u-*\" jump inward\n"
        "    }\n",
        n, n, n, n, n);
}

int nft_policy_text(const struct nft_policy *policy, struct buf *out)
{
    char subnet[INET_ADDRSTRLEN];
    (void)inet_ntop(AF_INET, &policy->subnet, subnet, sizeof(subnet));
    int r = nft_remove_text(policy->instance, out);
    if (r == 0)
        r = buf_printf(out, "table inet carrel%u {\n", policy->instance);
    if (r == 0)
        r = sets_text(policy, out);
    if (r == 0)
        r = entry_text(policy, subnet, out);
    if (r == 0)
        r = filter_text(policy, out);
    if (r == 0)
        r = buf_printf(out,
                       "    chain postrouting {\n"
                       "        type nat hook postrouting priority srcnat; policy accept\n"
                       "        ip saddr %s/%u oifname != \"cr%u-*\" masquerade\n"
                       "    }\n}\n",
                       subnet, policy->prefix, policy->instance);
    return r;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The rest of the host: packet filter, forwarding, resolvers, certificates, memory, KVM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/ns/net.h"
#include "box/ns/nft.h"
#include "cli/doctor.h"

/* Each kind of expression that the ruleset of sandboxes uses, in a namespace that nobody else sees. */
static const char rules[] =
    "table inet carrel_doctor {\n"
    "    set closed { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 } }\n"
    "    chain entry {\n"
    "        type filter hook prerouting priority raw; policy accept\n"
    "        ip daddr @closed drop\n"
    "        fib saddr . iif oif missing drop\n"
    "    }\n"
    "    chain forward {\n"
    "        type filter hook forward priority filter; policy accept\n"
    "        iifname \"cr0-*\" tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n"
    "        ct state established accept\n"
    "    }\n"
    "    chain postrouting {\n"
    "        type nat hook postrouting priority srcnat; policy accept\n"
    "        ip saddr 10.0.0.0/8 masquerade\n"
    "    }\n"
    "}\n";

static void load_rules(void *arg, int fd)
{
    struct err err;
    if (unshare(CLONE_NEWNET) < 0)
        dprintf(fd, "network namespace: %s", strerror(errno));
    else if (nft_load(rules, sizeof rules - 1, &err) < 0)
        dprintf(fd, "%s", err.message);
    else
        dprintf(fd, "ok");
}

static void look_at_nft(struct doctor *d)
{
    char text[200], drop[96] = "";
    doctor_try(load_rules, NULL, text, sizeof text);
    bool good = strcmp(text, "ok") == 0;
    doctor_add(d, good ? DOCTOR_GOOD : DOCTOR_MISSING, "nftables",
               "the network of sandboxes cannot be closed, so none is made",
               "install the package nftables; a kernel with CONFIG_NF_TABLES_INET, NFT_FIB_INET, "
               "NFT_MASQ and NFT_CT",
               "%s",
               good      ? "the rules load"
               : text[0] ? text
                         : "no answer");
    if (geteuid() == 0)
        nft_forward_drop(drop, sizeof drop);
    if (drop[0])
        doctor_add(d, DOCTOR_LIMITED, "foreign firewall",
                   "sandboxes have no way out: its forward chain drops by policy",
                   "add rules there that accept iifname \"cr*\" and its answers", "%s", drop);
}

static void look_at_forwarding(struct doctor *d)
{
    _cleanup_free_ char *text = NULL;
    int rc = fd_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", 16, &text, NULL);
    bool writable = access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0;
    bool on = rc == 0 && text[0] == '1';
    doctor_add(d, on || writable ? DOCTOR_GOOD : DOCTOR_LIMITED, "IPv4 forwarding",
               "sandboxes have no way to the internet", "sysctl net.ipv4.ip_forward=1", "%s",
               on         ? "on"
               : writable ? "off; carrel serve switches it on for the uplink"
                          : "off, and cannot be switched on");
}

static void look_at_resolvers(struct doctor *d)
{
    struct in_addr found[NET_RESOLVERS];
    char text[128] = "";
    size_t n = 0;
    int count = net_resolvers(found);
    for (int i = 0; i < count; i++) {
        char address[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &found[i], address, sizeof address);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? " " : "", address);
    }
    doctor_add(d, count > 0 ? DOCTOR_GOOD : DOCTOR_LIMITED, "resolvers", "no names inside",
               "carrel serve --dns ADDR", "%s",
               count > 0 ? text : "none that a sandbox could reach");
}

static void look_at_certificates(struct doctor *d)
{
    struct stat st;
    static const char path[] = "/etc/ssl/certs/ca-certificates.crt";
    bool there = stat(path, &st) == 0;
    doctor_add(d, there ? DOCTOR_GOOD : DOCTOR_LIMITED, "certificates",
               "sandboxes trust what their template trusts, and nothing of this host's own",
               "install ca-certificates, or carrel serve --ca-bundle FILE", "%s%s", path,
               there ? "" : " is not there");
}

static void look_at_memory(struct doctor *d)
{
    _cleanup_free_ char *text = NULL;
    unsigned long long kib = 0;
    if (fd_read_file(AT_FDCWD, "/proc/meminfo", 1 << 16, &text, NULL) == 0) {
        const char *line = strstr(text, "MemAvailable:");
        if (line)
            sscanf(line, "MemAvailable: %llu", &kib);
    }
    doctor_add(d, kib >= 1 << 20 ? DOCTOR_GOOD : DOCTOR_LIMITED, "memory",
               "few sandboxes fit: an idle one takes less than 1 MiB, a busy one what its limit "
               "allows",
               "add memory, or lower --memory-mb", "%.1f GiB available, %d processors",
               (double)kib / (1 << 20), get_nprocs());
}

/* ---- KVM ---- */

/* A device alone says nothing: behind nested or paravirtual variants kernels run a thousand times
 * too slowly. Those we have met offer a processor without XSAVE. */
static const char *judge_kvm(int fd)
{
    enum { ENTRIES = 256, XSAVE = 1 << 26 };
    if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return "another API";
    struct kvm_cpuid2 *cpuid =
        xcalloc(1, sizeof *cpuid + ENTRIES * sizeof(struct kvm_cpuid_entry2));
    bool xsave = false;
    cpuid->nent = ENTRIES;
    int rc = ioctl(fd, KVM_GET_SUPPORTED_CPUID, cpuid);
    for (uint32_t i = 0; rc == 0 && i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 1)
            xsave = cpuid->entries[i].ecx & XSAVE;
    free(cpuid);
    return rc < 0 ? strerror(errno) : xsave ? NULL : "no real processor behind it (no XSAVE)";
}

static void look_at_kvm(struct doctor *d)
{
#if defined(__x86_64__)
    _cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    const char *why = fd < 0 ? strerror(errno) : judge_kvm(fd);
#else
    const char *why = "not looked at on this machine";
#endif
    doctor_add(d, why ? DOCTOR_LIMITED : DOCTOR_GOOD, "KVM",
               "sandboxes of the kind vm are emulated, and slow; those of the kind ns need none",
               "a host with hardware virtualization, kvm_intel or kvm_amd loaded", "%s",
               why ? why : "usable");
}

void doctor_look_at_host(struct doctor *d)
{
    look_at_nft(d);
    look_at_forwarding(d);
    look_at_resolvers(d);
    look_at_certificates(d);
    look_at_memory(d);
    look_at_kvm(d);
}

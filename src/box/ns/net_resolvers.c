/* SPDX-License-Identifier: Apache-2.0 */
/* The host's resolvers, read from its configuration. */
#include "box/ns/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "box/ns/net-internal.h"

enum { RESOLV_CONF_MAX = 64 * 1024 };

/* One word after "nameserver"; the keyword starts its line and ends with a blank, as in
 * resolv.conf(5). A comment may follow. */
static bool read_nameserver(struct str line, struct in_addr *ret)
{
    const struct str keyword = STR("nameserver");
    if (!str_starts(line, keyword))
        return false;
    line.p += keyword.len;
    line.len -= keyword.len;
    if (line.len == 0 || (line.p[0] != ' ' && line.p[0] != '\t'))
        return false;
    line = str_trim(line);
    size_t word = 0;
    while (word < line.len && line.p[word] != ' ' && line.p[word] != '\t')
        word++;
    char text[INET_ADDRSTRLEN];
    if (word == 0 || word >= sizeof(text) || memchr(line.p, '\0', word) != NULL)
        return false;
    memcpy(text, line.p, word);
    text[word] = '\0';
    return inet_pton(AF_INET, text, ret) == 1;
}

static bool is_usable(struct in_addr address)
{
    uint32_t host = ntohl(address.s_addr);
    /* Loopback and 0.0.0.0 mean the sandbox itself; multicast and above is no resolver. */
    return host >> 24 != 127 && host >> 24 != 0 && host < 0xe0000000;
}

unsigned net_resolvers_parse(struct str text, struct in_addr out[NET_RESOLVERS])
{
    unsigned count = 0;
    struct str line;
    while (count < NET_RESOLVERS && str_split(&text, '\n', &line)) {
        struct in_addr address;
        if (line.len > 0 && line.p[line.len - 1] == '\r')
            line.len--;
        if (!read_nameserver(line, &address) || !is_usable(address))
            continue;
        bool known = false;
        for (unsigned i = 0; i < count; i++)
            known = known || out[i].s_addr == address.s_addr;
        if (!known)
            out[count++] = address;
    }
    return count;
}

int net_resolvers(struct in_addr out[NET_RESOLVERS])
{
    static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        _cleanup_free_ char *text = NULL;
        size_t len;
        int r = fd_read_file(AT_FDCWD, files[i], RESOLV_CONF_MAX, &text, &len);
        if (r == -ENOENT)
            continue;
        if (r < 0)
            return r;
        unsigned count = net_resolvers_parse((struct str){text, len}, out);
        if (count > 0)
            return (int)count;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Network policies as data. */
#include "box/network.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/hostname.h"
#include "base/mem.h"

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const struct box_range *)a)->first, y = ((const struct box_range *)b)->first;
    return (x > y) - (x < y);
}

/* Sorts, and makes one of those that overlap or touch. Returns how many are left. */
static uint32_t merge(struct box_range *ranges, uint32_t count)
{
    uint32_t kept = 0;
    qsort(ranges, count, sizeof *ranges, by_first);
    for (uint32_t i = 0; i < count; i++) {
        struct box_range *last = kept ? &ranges[kept - 1] : NULL;
        if (last && (last->last == UINT32_MAX || ranges[i].first <= last->last + 1)) {
            if (ranges[i].last > last->last)
                last->last = ranges[i].last;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

void box_network_settle(struct box_network *n)
{
    n->allow_count = merge(n->allow, n->allow_count);
    n->deny_count = merge(n->deny, n->deny_count);
    if (n->deny_count == 1 && n->deny[0].first == 0 && n->deny[0].last == UINT32_MAX)
        n->deny_all = true;
    if (n->deny_all)
        n->deny_count = 0;
}

bool box_network_restricts(const struct box_network *n)
{
    return n && (n->deny_all || n->deny_count > 0);
}

bool box_network_closed(const struct box_network *n)
{
    return n && n->deny_all && n->allow_count == 0 && n->names_len == 0;
}

/* ---- as text ---- */

static int print_ranges(const char *key, const struct box_range *ranges, uint32_t count,
                        struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN];
        struct in_addr from = {htonl(ranges[i].first)}, to = {htonl(ranges[i].last)};
        inet_ntop(AF_INET, &from, first, sizeof first);
        inet_ntop(AF_INET, &to, last, sizeof last);
        rc = buf_printf(out, "%s=%s-%s\n", key, first, last);
    }
    return rc;
}

int box_network_print(const struct box_network *n, struct buf *out)
{
    int rc = buf_printf(out, "version=1\ndeny-all=%d\n", n->deny_all);
    if (rc == 0)
        rc = print_ranges("allow", n->allow, n->allow_count, out);
    if (rc == 0)
        rc = print_ranges("deny", n->deny, n->deny_count, out);
    for (uint32_t at = 0; rc == 0 && at < n->names_len; at += (uint32_t)strlen(n->names + at) + 1)
        rc = buf_printf(out, "name=%s\n", n->names + at);
    /* What was cut has no last line. */
    return rc == 0 ? buf_append_z(out, "end=1\n") : rc;
}

static int take_address(struct str text, uint32_t *ret)
{
    char copy[INET_ADDRSTRLEN];
    struct in_addr address;
    if (text.len >= sizeof copy || memchr(text.p, 0, text.len))
        return -EINVAL;
    memcpy(copy, text.p, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, &address) != 1)
        return -EINVAL;
    *ret = ntohl(address.s_addr);
    return 0;
}

static int take_range(struct str text, struct box_range *ranges, uint32_t *count)
{
    struct str first;
    struct box_range range;
    if (*count == BOX_RANGES_MAX || !str_split(&text, '-', &first) ||
        take_address(first, &range.first) < 0 || !text.p || take_address(text, &range.last) < 0 ||
        range.first > range.last)
        return -EINVAL;
    ranges[(*count)++] = range;
    return 0;
}

static int take_name(struct str name, struct box_network *n)
{
    if (!hostname_pattern_valid(name) || name.len + 1 > BOX_NAMES_BYTES - n->names_len)
        return -EINVAL;
    memcpy(n->names + n->names_len, name.p, name.len);
    n->names_len += (uint32_t)name.len;
    n->names[n->names_len++] = '\0';
    return 0;
}

static int take_line(struct str line, struct box_network *n, bool *ended)
{
    struct str key;
    if (*ended || !str_split(&line, '=', &key) || !line.p)
        return -EINVAL;
    if (str_eqz(key, "version"))
        return str_eqz(line, "1") ? 0 : -EINVAL;
    if (str_eqz(key, "deny-all")) {
        n->deny_all = str_eqz(line, "1");
        return n->deny_all || str_eqz(line, "0") ? 0 : -EINVAL;
    }
    if (str_eqz(key, "allow"))
        return take_range(line, n->allow, &n->allow_count);
    if (str_eqz(key, "deny"))
        return take_range(line, n->deny, &n->deny_count);
    if (str_eqz(key, "name"))
        return take_name(line, n);
    *ended = str_eqz(key, "end");
    return *ended ? 0 : -EINVAL;
}

int box_network_parse(struct str text, struct box_network *ret)
{
    bool ended = false;
    struct str line;
    if (text.len == 0 || text.len > BOX_NETWORK_MAX || text.p[text.len - 1] != '\n')
        return -EINVAL;
    text.len--;
    _cleanup_free_ struct box_network *n = xcalloc(1, sizeof *n);
    while (str_split(&text, '\n', &line))
        if (take_line(line, n, &ended) < 0)
            return -EINVAL;
    if (!ended || (n->names_len && !n->deny_all))
        return -EINVAL;
    box_network_settle(n);
    *ret = *n;
    return 0;
}
